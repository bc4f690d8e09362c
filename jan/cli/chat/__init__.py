"""``jan chat``: talk with a model of a running server, in the terminal or through pipes.

Plain blocking code: a person and a model take turns, and Ctrl-C interrupts either.
"""

import shutil
import sys
from pathlib import Path

DEFAULT_URL = "http://127.0.0.1:8080/api/v1"


def program() -> str:
    """Return how to call ``jan`` here: as it was called, because it may not be on the PATH."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return "python -m jan"
    return called.name if shutil.which(called.name) == str(called.absolute()) else str(called)


def chat_command(url: str) -> str:
    """Return the command that talks with the server at ``url``."""
    name = program()
    return f"{name} chat" if url == DEFAULT_URL else f"{name} chat --url {url}"

"""The environment of a child process that reads what strangers send or made."""

import os
import sys
from pathlib import Path

_ROOT = str(Path(__file__).resolve().parents[2])
# Only what Python needs: none of the server's secrets.
_KNOWN = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "VIRTUAL_ENV")


def bare_environment(**more: str) -> dict[str, str]:
    """Return the variables for a child that imports what this process can import; ``more`` are added."""
    known = {name: os.environ[name] for name in _KNOWN if name in os.environ}
    return {**known, "PYTHONPATH": os.pathsep.join([_ROOT, *filter(None, sys.path)]), **more}

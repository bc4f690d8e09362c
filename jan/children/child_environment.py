"""The environment of child processes: without the server's secrets, but for parts of the server."""

import os
import sys
from pathlib import Path

_ROOT = str(Path(__file__).resolve().parents[2])
# Only what Python needs: none of the server's secrets.
_KNOWN = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "VIRTUAL_ENV")


# Ends of the words in names of variables that hold secrets.
_SECRETS = (
    "KEY",
    "KEYS",
    "TOKEN",
    "TOKENS",
    "SECRET",
    "SECRETS",
    "PASSWORD",
    "PASSWD",
    "CREDENTIAL",
    "CREDENTIALS",
)


def bare_environment(**more: str) -> dict[str, str]:
    """Return the variables for a child that reads what strangers send or made, and imports what this process can
    import; ``more`` are added."""
    known = {name: os.environ[name] for name in _KNOWN if name in os.environ}
    return {**known, **_importing(), **more}


def library_environment() -> dict[str, str]:
    """Return the variables for a child that runs a model library: all that may set up the library, without those
    that look like secrets."""
    known = {name: value for name, value in os.environ.items() if not _is_private(name.upper(), value)}
    return {**known, **_importing()}


def whole_environment() -> dict[str, str]:
    """Return the variables for a child that is a part of the server."""
    return {**os.environ, **_importing()}


def _is_private(name: str, value: str) -> bool:
    """Return True for settings of the server, for names of secrets, and for URLs that may have a password."""
    if name.startswith("JAN__") or any(word.endswith(_SECRETS) for word in name.split("_")):
        return True
    return "://" in value and "@" in value


def _importing() -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join([_ROOT, *filter(None, sys.path)])}

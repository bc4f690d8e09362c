"""Fingerprints of loaded models: what the answer to a seed depends on beside the request. OpenAI's
``system_fingerprint``."""

import hashlib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from jan import __version__

# Reading weights in full would take minutes. GGUF and safetensors files begin with their metadata.
_HEAD_BYTES = 1 << 20
_TAIL_BYTES = 1 << 16


def fingerprint_of(engine: str, package: str = "", files: Iterable[Path] = ()) -> str:
    """Return a short text that stays the same while engine, library and weights do, on any machine.

    ``package``: the distribution of the engine's library. ``files``: those of the weights, whatever their names.
    """
    found = hashlib.sha256(engine.encode())
    found.update(f"\0{__version__}\0{package} {_version(package)}".encode())
    for file in files:
        size = file.stat().st_size
        found.update(f"\0{size}\0".encode())
        with file.open("rb") as opened:
            found.update(opened.read(_HEAD_BYTES))
            opened.seek(max(0, size - _TAIL_BYTES))
            found.update(opened.read(_TAIL_BYTES))
    return f"fp_{found.hexdigest()[:12]}"


def _version(package: str) -> str:
    try:
        return version(package) if package else ""
    except PackageNotFoundError:
        return ""

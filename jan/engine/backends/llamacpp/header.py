"""The metadata of a GGUF file, read without loading the model."""

import os
from pathlib import Path
from typing import Any

import cyllama.llama.llama_cpp as llama


def read_header(file: Path) -> dict[str, Any] | None:
    """Return the file's metadata under GGUF's own keys, or None if it is not a GGUF file."""
    llama.disable_logging()
    try:
        header = llama.GGUFContext.from_file(os.fspath(file))
    except (ValueError, OSError, RuntimeError):
        return None
    try:
        values: dict[str, Any] = header.get_all_metadata()
    finally:
        header.close()
    return values

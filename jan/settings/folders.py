"""Tell whether files could be made in a folder, without making any."""

import os
from pathlib import Path


def why_unwritable(folder: Path) -> str | None:
    """Return why no file could be made in a folder, which need not exist yet; None if one could."""
    if "\0" in str(folder):
        return "its name has a NUL"
    try:
        nearest = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
        if not nearest.is_dir():
            return f"{nearest} is not a folder"
        return None if os.access(nearest, os.W_OK | os.X_OK) else f"{nearest} can't be written to"
    except (OSError, ValueError) as error:  # such as a name that is too long, or holds a NUL
        return str(getattr(error, "strerror", None) or error)

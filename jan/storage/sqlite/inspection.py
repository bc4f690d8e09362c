"""Check a database file by its header (SQLite's file format, 1.3), without opening it."""

import os
import struct
from pathlib import Path

from jan.errors import ConfigurationError
from jan.settings.folders import why_unwritable
from jan.storage.sqlite.migrations import APPLICATION_ID, MIGRATIONS, of_another_program, too_new

_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
# Offsets in the header, of big-endian integers of 32 bits.
_PAGES, _VERSION, _APPLICATION = 28, 60, 68


def check_file(path: Path) -> None:
    """Raise ConfigurationError if opening the file for writing would fail, as far as its header shows that."""
    try:
        header = _header(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"storage.url: Can't open {path.absolute()}: {reason}.") from None
    # Pages that are still in the -wal file may have made it ours.
    if not header or _has_pages(path.with_name(f"{path.name}-wal")):
        return
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        raise ConfigurationError(f"storage.url: {path.absolute()} is not an SQLite database.")
    pages, version, application = (
        struct.unpack_from(">I", header, at)[0] for at in (_PAGES, _VERSION, _APPLICATION)
    )
    if application != APPLICATION_ID and pages > 1:  # one page is a database without tables
        raise of_another_program(path.absolute())
    if version > len(MIGRATIONS):
        raise too_new(path.absolute(), version)


def _header(path: Path) -> bytes:
    """Return the beginning of a file; nothing if there is none yet, and one can be made."""
    if not os.path.lexists(path):
        reason = why_unwritable(path.parent)
        if reason is not None:
            raise ValueError(reason)
        return b""
    with path.open("r+b") as stream:
        return stream.read(_HEADER_BYTES)


def _has_pages(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False

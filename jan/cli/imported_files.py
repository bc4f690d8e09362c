"""The files that ``jan import`` reads: files, those in folders, and those in archives, chunk by chunk."""

import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import IO

import msgspec

from jan.errors import InvalidRequest

_CHUNK = 1 << 20
_NAMES = (".json", ".jsonl")
# The data exports of ChatGPT and Claude have other files beside their conversations.
_CONVERSATIONS = "conversations*.json"
# Limits of an archive: its files, and how much larger than itself a file may become. Text is packed to a tenth.
_MOST_FILES = 100_000
_MOST_TIMES, _FREE_BYTES = 200, 64 * 1024 * 1024
# What zipfile raises. An encrypted file is a RuntimeError, an unknown way of packing a NotImplementedError.
_DAMAGED: tuple[type[Exception], ...] = (zipfile.BadZipFile, RuntimeError, EOFError, OSError, zlib.error)
with suppress(ImportError):  # some builds of Python lack it, and read no archives that need it
    from lzma import LZMAError

    _DAMAGED += (LZMAError,)


class ImportedFile(msgspec.Struct, frozen=True):
    """A file by its name for people, and what it holds, which can be taken once."""

    name: str
    chunks: Iterator[bytes]


def files_in(paths: Iterable[Path]) -> Iterator[ImportedFile]:
    """Yield the files at these paths. Raises InvalidRequest for an archive that can't be read or is a bomb."""
    for path in paths:
        if path.is_dir():
            for inner in sorted(one for one in path.rglob("*") if one.suffix.lower() in _NAMES and one.is_file()):
                yield ImportedFile(str(inner), _chunks(inner))
        elif zipfile.is_zipfile(path):
            yield from _in_archive(path)
        else:
            yield ImportedFile(str(path), _chunks(path))


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _in_archive(path: Path) -> Iterator[ImportedFile]:
    with _readable(path), zipfile.ZipFile(path) as archive:
        inner = [one for one in archive.infolist() if one.filename.lower().endswith(_NAMES)]
        if len(inner) > _MOST_FILES:
            raise InvalidRequest(f"{path}: It has {len(inner)} files; allowed: at most {_MOST_FILES}.")
        named = [one for one in inner if fnmatch(Path(one.filename).name.lower(), _CONVERSATIONS)]
        for one in named or inner:
            with archive.open(one) as file:
                most = one.compress_size * _MOST_TIMES + _FREE_BYTES
                yield ImportedFile(f"{path}/{one.filename}", _unpacked(file, most, path))


def _unpacked(file: IO[bytes], most: int, path: Path) -> Iterator[bytes]:
    unpacked = 0
    while chunk := _read(file, path):
        unpacked += len(chunk)
        if unpacked > most:
            raise InvalidRequest(f"{path}: A file in it becomes {_MOST_TIMES} times as large as it is packed.")
        yield chunk


def _read(file: IO[bytes], path: Path) -> bytes:
    with _readable(path):
        return file.read(_CHUNK)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Raise InvalidRequest for an archive that is damaged, encrypted, or packed in an unknown way."""
    try:
        yield
    except _DAMAGED as error:
        raise InvalidRequest(f"{path}: The archive can't be read: {str(error).removesuffix('.')}.") from error

"""The record that ``jan pull`` keeps beside a model: the SHA-256 of each file, checked when the model is loaded.

It notices a file that was damaged, replaced or added later. It does not stop somebody who can write the record
too.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from jan.errors import ConfigurationError

#: The record's name in the model's folder.
RECORD = "jan-pulled.json"
# How far above a file its record is looked for: repositories have folders.
_LEVELS = 3
# The kinds of files in a folder that engines read. More of them than were pulled would change the model.
_READ_KINDS = (".gguf", ".jinja", ".json", ".safetensors")
_CHUNK = 1 << 22


class PulledFile(msgspec.Struct, frozen=True):
    """A file as it was pulled. ``seen``: its size, times, number and device when it last had this SHA-256.

    ``commit``: the repository's commit that it is from.
    """

    sha256: str
    commit: str = ""
    seen: tuple[int, ...] = ()


class PullRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The files that were pulled into a folder, by their paths in it, and the repository."""

    repo: str
    files: dict[str, PulledFile]


def write_record(folder: Path, record: PullRecord) -> None:
    """Write the record of a folder, whole or not at all."""
    new = folder / f".{RECORD}.new"
    new.write_bytes(msgspec.json.format(msgspec.json.encode(record)) + b"\n")
    os.replace(new, folder / RECORD)


def read_record(folder: Path) -> PullRecord | None:
    """Return the record of a folder, None if it has none. Raises ConfigurationError if it can't be read."""
    file = folder / RECORD
    if not file.is_file():
        return None
    try:
        return msgspec.json.decode(file.read_bytes(), type=PullRecord)
    except (msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(
            f"{file} can't be read, so nothing says if the model beside it is the one that was pulled. Pull it "
            "again, or remove this file to use the model unchecked."
        ) from error


def file_as_it_is(file: Path, commit: str) -> PulledFile:
    """Return the entry of a file, after reading it all."""
    seen = _identity(file)
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            digest.update(chunk)
    return PulledFile(digest.hexdigest(), commit, seen)


def check_pulled(paths: Iterable[Path]) -> None:
    """Check a model's files and folders, if they were pulled.

    A file whose size, times and number are those of the last check is not read again. Raises ConfigurationError
    that names the file that has changed, and how to accept it.
    """
    for path in paths:
        folder = _recorded_folder(path)
        record = None if folder is None else read_record(folder)
        if folder is not None and record is not None:
            _check(folder, record, path)


def accepted(path: Path) -> int:
    """Write a pulled model's files into its record as they are now; returns the number that had changed.

    Raises ConfigurationError if the model was not pulled.
    """
    folder = _recorded_folder(path)
    record = None if folder is None else read_record(folder)
    if folder is None or record is None:
        raise ConfigurationError(f"{path} was not pulled: neither it nor a folder above it has a {RECORD}.")
    names = {name for name in record.files if (folder / name).is_file()} | {*_added(folder, record)}
    files = {name: file_as_it_is(folder / name, "accepted") for name in sorted(names)}
    write_record(folder, msgspec.structs.replace(record, files=files))
    before = {name: file.sha256 for name, file in record.files.items()}
    return len({name for name in {*files, *before} if name not in files or files[name].sha256 != before.get(name)})


def _recorded_folder(path: Path) -> Path | None:
    """Return the folder at or above a path that has a record, None if there is none."""
    path = path.expanduser().absolute()
    above = [path, *path.parents][: _LEVELS + 1]
    return next((folder for folder in above if (folder / RECORD).is_file()), None)


def _check(folder: Path, record: PullRecord, path: Path) -> None:
    """Check a file, or all files if the path is a folder."""
    at = path.expanduser().absolute()
    if at.is_dir():
        for added in _added(folder, record):
            raise _changed(folder / added, "was not pulled with it", record, at)
        names = [name for name in record.files if (folder / name).is_file()]
    else:
        names = [at.relative_to(folder).as_posix()]
        if names[0] not in record.files:
            raise _changed(at, "was not pulled with it", record, at)
    again = {name: pulled for name in names if (pulled := _checked(folder, name, record, at)) is not None}
    if again:
        try:
            write_record(folder, msgspec.structs.replace(record, files={**record.files, **again}))
        except OSError:
            return  # a folder that can't be written is read whole at each start


def _checked(folder: Path, name: str, record: PullRecord, model: Path) -> PulledFile | None:
    """Return the new entry of a file that had to be read; None if nothing about it has changed."""
    before, file = record.files[name], folder / name
    if before.seen == _identity(file):
        return None
    now = file_as_it_is(file, before.commit)
    if now.sha256 != before.sha256:
        hashes = f"SHA-256 {now.sha256[:16]}, pulled {before.sha256[:16]}"
        raise _changed(file, f"has changed since commit {before.commit[:12]} ({hashes})", record, model)
    return now


def _added(folder: Path, record: PullRecord) -> Iterator[str]:
    for file in sorted(folder.iterdir()):
        known = file.name == RECORD or file.name.startswith(".") or file.name in record.files
        if not known and file.suffix in _READ_KINDS and file.is_file():
            yield file.name


def _changed(file: Path, why: str, record: PullRecord, model: Path) -> ConfigurationError:
    return ConfigurationError(
        f"Model file {file} is not the one that was pulled from {record.repo}: It {why}. Pull it again, or accept "
        f"it as it is (jan models --accept {model})."
    )


def _identity(file: Path) -> tuple[int, ...]:
    """Return what changes with a file's content, unless somebody sets the clock back."""
    found = file.stat()
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev)

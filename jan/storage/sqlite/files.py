"""Keeps the database file private, and checks that it is still the one that was opened."""

import os
from pathlib import Path

from jan.errors import ConfigurationError, Unavailable, retry_headers


class PrivateFile:
    """A file that only its owner may read. SQLite gives -wal and -shm the mode of the database file."""

    def __init__(self, path: str) -> None:
        self.path = Path(path).absolute()
        self._identity: tuple[int, int] | None = None

    def prepare(self) -> None:
        """Create missing directories (0700) and the file (0600). Narrow the mode of an existing file."""
        try:
            for directory in reversed([p for p in self.path.parents if not p.exists()]):
                directory.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigurationError(f"storage.url: Can't open {self.path}: {error.strerror}.") from None
        try:
            found = os.fstat(descriptor)
            if found.st_mode & 0o077:
                os.fchmod(descriptor, 0o600)
            self._identity = (found.st_dev, found.st_ino)
        finally:
            os.close(descriptor)

    def check(self) -> None:
        """Check that the path still leads to the open file. Raises Unavailable otherwise.

        SQLite would continue writing into a deleted file, and acknowledged writes would be lost.
        """
        try:
            found = os.stat(self.path)
        except OSError:
            found = None
        if found is None or (found.st_dev, found.st_ino) != self._identity:
            raise Unavailable(
                "The database file was moved or deleted while the server runs.",
                code="storage_unavailable",
                headers=retry_headers(5000),
            )

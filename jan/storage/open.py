"""Makes a store from a URL. A backend is imported only when a URL asks for it."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from jan.errors import ConfigurationError
from jan.schema.limits import UNLIMITED, Quota
from jan.storage.repositories import Store

_SCHEMES = "sqlite:///relative/file.db, sqlite:////absolute/file.db, mongodb://..., mongodb+srv://..."


def store_from_url(url: str, *, timeout: float = 5.0, quota: Quota = UNLIMITED) -> Store:
    """Make the store that the URL names. ``await store.open()`` then connects it.

    ``timeout`` is how many seconds an operation waits for a store that is unreachable or locked before it raises
    Unavailable. ``quota`` is the most that each user may store.

    Raises ConfigurationError if the URL names no store or the driver is not installed.
    """
    try:
        scheme, path = urlsplit(url).scheme, urlsplit(url).path
    except ValueError:
        scheme = path = ""  # such as unbalanced brackets
    if scheme == "sqlite":
        return _sqlite(url, unquote(path.removeprefix("/")), timeout, quota)
    if scheme in ("mongodb", "mongodb+srv"):
        return _mongo(url, timeout, quota)
    # The URL may hold a password, so the message repeats only its scheme.
    raise ConfigurationError(f"storage.url: Unknown scheme '{scheme}'; allowed: {_SCHEMES}.")


def sqlite_file(url: str) -> Path | None:
    """Return the file that a store's URL names; None for a store that is no file."""
    return Path(unquote(urlsplit(url).path.removeprefix("/"))) if url.startswith("sqlite:") else None


def check_store(url: str) -> None:
    """Raise ConfigurationError if a store is a file that can't be opened. Nothing is opened or made."""
    file = sqlite_file(url)
    if file is not None:
        from jan.storage.sqlite.inspection import check_file

        check_file(file)


def _sqlite(url: str, path: str, timeout: float, quota: Quota) -> Store:
    parts = urlsplit(url)
    if parts.netloc or parts.query or parts.fragment or not path or path == ":memory:":
        raise ConfigurationError(f"storage.url: The URL '{url}' names no file; allowed: {_SCHEMES}.")
    from jan.storage.sqlite.store import SqliteStore

    return SqliteStore(path, timeout=timeout, quota=quota)


def _mongo(url: str, timeout: float, quota: Quota) -> Store:
    try:
        from jan.storage.mongo.store import MongoStore
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"storage.url: MongoDB needs the package '{error.name}'. Install jan-server[mongo]."
        ) from None
    return MongoStore(url, timeout=timeout, quota=quota)

"""Opening a store: URLs, file modes, schema versions, and what an import brings along."""

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.mongodb import mongo_client

from jan.errors import ConfigurationError
from jan.storage import store_from_url
from jan.storage.accounting import Demand
from jan.storage.records import User
from jan.storage.sqlite.migrations import APPLICATION_ID, MIGRATIONS


def path_of(sqlite_url: str) -> Path:
    return Path(sqlite_url.removeprefix("sqlite:///"))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "jan.db",
        "postgres://u:secret@h/db",
        "redis://h",
        "http://[",
        "sqlite://",
        "sqlite:///",
        "sqlite://h/x",
    ],
)
def test_a_url_of_no_store_is_refused(url: str) -> None:
    """The error names the schemes that are allowed, and repeats no password."""
    with pytest.raises(ConfigurationError, match=r"allowed: sqlite:.*mongodb://.*mongodb\+srv://") as caught:
        store_from_url(url)
    assert "secret" not in str(caught.value)


def test_paths_are_relative_or_absolute(tmp_path: Path) -> None:
    """Three slashes lead to a relative path, four to an absolute one; both may be percent-encoded."""
    program = """
import asyncio, sys
from jan.storage import store_from_url
async def main():
    for url in sys.argv[1:]:
        store = store_from_url(url)
        await store.open()
        await store.close()
asyncio.run(main())
"""
    urls = ["sqlite:///data/relative.db", f"sqlite:///{tmp_path}/with%20space.db"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", program, *urls], cwd=tmp_path, env=environment, check=True, timeout=60)
    assert (tmp_path / "data" / "relative.db").exists()
    assert (tmp_path / "with space.db").exists()


def test_importing_storage_imports_no_driver(tmp_path: Path) -> None:
    """Only a mongodb URL imports Motor and PyMongo."""
    program = """
import sys
import jan.storage, jan.storage.transfer
jan.storage.store_from_url("sqlite:///x.db")
assert not {"motor", "pymongo", "bson"} & set(sys.modules), "driver imported"
"""
    subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2], check=True, timeout=60)


async def test_the_file_is_private(sqlite_url: str) -> None:
    """The database, its log and its index are readable by their owner alone, the directory too."""
    store = store_from_url(sqlite_url)
    await store.open()
    await store.users.create(User(email="a@example.com"))
    path = path_of(sqlite_url)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir()}
    assert modes == {"jan.db": 0o600, "jan.db-wal": 0o600, "jan.db-shm": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    await store.close()
    path.chmod(0o644)
    await store.open()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await store.close()


async def test_writes_are_synchronous(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection that writes uses the write-ahead log and waits for the disk."""
    connections: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def recorded(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connections.append(connect(*arguments, **options))
        return connections[-1]

    monkeypatch.setattr(sqlite3, "connect", recorded)
    store = store_from_url(sqlite_url)
    await store.open()
    assert connections[0].execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connections[0].execute("PRAGMA synchronous").fetchone() == (2,)
    await store.close()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (
            "PRAGMA application_id=0x4A414E53; PRAGMA user_version=99; CREATE TABLE x (y);",
            "version 99.*newer",
        ),
        ("CREATE TABLE theirs (x);", "another program"),
    ],
)
async def test_a_strange_database_is_refused(sqlite_url: str, script: str, words: str) -> None:
    """A newer schema and another program's file are ConfigurationErrors, and the file stays as it was."""
    path = path_of(sqlite_url)
    path.parent.mkdir()
    other = sqlite3.connect(path)
    other.executescript(script)
    before = other.execute("SELECT sql FROM sqlite_schema").fetchall()
    store = store_from_url(sqlite_url)
    with pytest.raises(ConfigurationError, match=words):
        await store.open()
    assert other.execute("SELECT sql FROM sqlite_schema").fetchall() == before
    other.close()


async def test_a_file_of_an_earlier_version_is_brought_up_to_date(sqlite_url: str) -> None:
    """Data of an earlier version is all there, and new features can be used."""
    path = path_of(sqlite_url)
    path.parent.mkdir()
    path.parent.chmod(0o700)
    old = sqlite3.connect(path)
    old.executescript(";".join(MIGRATIONS[0]))
    document = msgspec.json.encode(User(id="user_1", email="a@example.com")).decode()
    old.execute("INSERT INTO users (id, email, doc) VALUES ('user_1', 'a@example.com', ?)", (document,))
    key = (
        '{"id": "key_1", "user_id": "user_1", "name": "k", "prefix": "p", "hash": "h", "permissions":'
        ' ["read", "write"], "created_at": "2025-01-01T00:00:00Z", "tokens_per_day": 7}'
    )
    old.execute("INSERT INTO api_keys (id, user_id, hash, doc) VALUES ('key_1', 'user_1', 'h', ?)", (key,))
    old.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    old.execute("PRAGMA user_version = 1")
    old.commit()
    old.close()
    store = store_from_url(sqlite_url)
    await store.open()
    assert (await store.users.get("user_1")).email == "a@example.com"
    found = await store.keys.find("key_1")
    assert found is not None
    assert (found.permissions, found.created_by) == (("read", "write"), None)
    assert [(account.id, account.budget.tokens_per_day) for account in found.accounts] == [("key_1", 7)]
    taken = await store.counters.take([Demand(key="a", cost=1, limit=1, seconds=60.0)], 0)
    assert taken.refused is None
    await store.close()


async def test_a_file_that_is_no_database_is_refused(sqlite_url: str) -> None:
    """A file of something else, and a path below a file, are ConfigurationErrors that name the path."""
    path = path_of(sqlite_url)
    path.parent.mkdir()
    path.write_bytes(b"not a database" * 100)
    for url in (sqlite_url, f"{sqlite_url}/below.db"):
        with pytest.raises(ConfigurationError, match=r"jan\.db"):
            await store_from_url(url).open()
    assert path.read_bytes() == b"not a database" * 100


async def test_a_newer_mongodb_schema_is_refused(database_url: str) -> None:
    """A database that a newer version migrated is a ConfigurationError that tells both versions."""
    store = store_from_url(database_url)
    await store.open()
    await store.close()
    with mongo_client(database_url) as client:
        schema = client.get_default_database()["schema"]
        schema.update_one({"_id": "schema"}, {"$set": {"version": 99}})
        with pytest.raises(ConfigurationError, match=r"version 99.*newer.*up to \d"):
            await store.open()
        schema.delete_one({"_id": "schema"})
    await store.open()  # as after a first start that was interrupted: the steps are run again
    await store.close()

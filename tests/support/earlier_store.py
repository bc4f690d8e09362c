"""Writes stores as earlier versions of the server have left them."""

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from jan.storage.sqlite.migrations import APPLICATION_ID, MIGRATIONS, add_functions
from support.mongodb import mongo_client

Document = dict[str, Any]


def file_of(url: str) -> Path:
    """The file of an SQLite store."""
    return Path(url.removeprefix("sqlite:///"))


def set_back(url: str, version: int) -> None:
    """Give a store that nobody has open an earlier schema. Its records stay as they are."""
    if url.startswith("mongodb"):
        with mongo_client(url) as client:
            client.get_default_database().schema.update_many({}, {"$set": {"version": version}})
        return
    file = file_of(url)
    older = file.with_name("older.db")
    with closing(sqlite3.connect(older, isolation_level=None)) as database:
        add_functions(database)
        for step in MIGRATIONS[:version]:
            database.executescript(";".join(step))
        database.execute("ATTACH ? AS newer", (str(file),))
        for (table,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
            columns = ", ".join(row[1] for row in database.execute(f"PRAGMA table_info({table})"))
            database.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM newer.{table}")
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute(f"PRAGMA user_version = {version}")
    older.replace(file)


def change(url: str, kind: str, by: Callable[[Document], Mapping[str, Any]]) -> None:
    """Replace each document of a kind by what ``by`` makes of it. JSON of clients is a text in MongoDB."""
    if url.startswith("mongodb"):
        with mongo_client(url) as client:
            found = client.get_default_database()[kind]
            for document in list(found.find()):
                found.replace_one({"_id": document["_id"]}, by(document))
        return
    with _sqlite(url) as database:
        for own, document in database.execute(f"SELECT id, doc FROM {kind}").fetchall():
            written = json.dumps(by(json.loads(document)), separators=(",", ":"))
            database.execute(f"UPDATE {kind} SET doc = ? WHERE id = ?", (written, own))


def documents(url: str, kind: str) -> list[Document]:
    """The documents of a kind as they are stored, in order of their ids."""
    if url.startswith("mongodb"):
        with mongo_client(url) as client:
            return list(client.get_default_database()[kind].find().sort("_id", 1))
    with _sqlite(url) as database:
        return [json.loads(doc) for (doc,) in database.execute(f"SELECT doc FROM {kind} ORDER BY id")]


@contextmanager
def _sqlite(url: str) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(file_of(url), isolation_level=None)) as database:
        yield database

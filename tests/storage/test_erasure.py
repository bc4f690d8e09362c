"""Deleted text is in none of SQLite's files, also of a database that an earlier version wrote."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from jan.conversations import Conversations
from jan.conversations.imports import Imports
from jan.idempotency.ids import IdSource
from jan.schema.stored_items import items_made_of
from jan.storage.folded_text import fold, grams_of
from jan.storage.records import ConversationChanges, ConversationRecord, MessageRecord, User
from jan.storage.sqlite.migrations import APPLICATION_ID, MIGRATIONS
from jan.storage.sqlite.store import SqliteStore
from jan.storage.text_search import Wanted

CANARY = "canary-of-a-deleted-row"
_OLD = 5


def files_with(folder: Path, text: str) -> list[str]:
    return [file.name for file in folder.iterdir() if text.encode() in file.read_bytes()]


def write_old(file: Path) -> None:
    """Write a database of an earlier version, in which a deleted row has left its text."""
    with closing(sqlite3.connect(file, isolation_level=None)) as old:
        old.execute("PRAGMA secure_delete = OFF")
        for step in MIGRATIONS[:_OLD]:
            old.executescript(";".join(step))
        old.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        old.execute(f"PRAGMA user_version = {_OLD}")
        old.execute("INSERT INTO users (id, email, doc) VALUES ('user_1', 'a@b.c', ?)", (CANARY,))
        old.execute("DELETE FROM users")


def test_a_database_of_an_earlier_version_is_written_anew(tmp_path: Path) -> None:
    """Once: its deleted rows were not overwritten."""
    file = tmp_path / "jan.db"
    write_old(file)
    assert files_with(tmp_path, CANARY) == ["jan.db"]

    async def opened() -> None:
        store = SqliteStore(str(file))
        await store.open()
        assert files_with(tmp_path, CANARY) == []
        await store.close()

    asyncio.run(opened())


def test_the_index_of_texts_has_nothing_of_deleted_messages(tmp_path: Path) -> None:
    """Its n-grams are as gone as the text, while those of messages that were indexed with it stay."""
    file = tmp_path / "jan.db"
    words = "ƛƍƺ", "ʞʭʮ", "ɷɸʩ"
    grams = [gram.to_bytes(4, "big") for word in words for gram in grams_of(fold(word))]

    def there() -> int:
        content = b"".join(one.read_bytes() for one in tmp_path.iterdir())
        return sum(gram in content for gram in grams)

    async def deleted() -> None:
        store = SqliteStore(str(file))
        await store.open()
        for text in (*words, "kept words"):
            made = ConversationRecord(user_id="user_1")
            await store.conversations.create(made)
            messages = [
                MessageRecord(conversation_id=made.id, role="user", items=items_made_of(f"{text} {number}"))
                for number in range(100)
            ]
            await store.messages.append_all("user_1", messages, at_head=True)
        while await store.search.index_some():
            pass
        assert there() == len(grams)
        for conversation in (await store.conversations.page("user_1", limit=9)).items:
            if conversation.id != made.id:
                await store.conversations.delete("user_1", conversation.id)
        assert len((await store.search.find("user_1", Wanted("kept"))).hits) == 100
        await store.close()

    asyncio.run(deleted())
    assert there() == 0


def test_copies_in_unused_parts_of_pages_go_at_the_end(tmp_path: Path) -> None:
    """SQLite leaves them when it moves rows between pages: a few of thousands of titles, by chance."""
    file = tmp_path / "jan.db"

    async def deleted() -> None:
        store = SqliteStore(str(file))
        await store.open()
        owner = User(email="a@b.c")
        made = [ConversationRecord(user_id=owner.id, title=f"{CANARY} {n} {'.' * (n % 700)}") for n in range(400)]
        await asyncio.gather(*map(store.conversations.create, made))
        longer = ConversationChanges(title=f"{CANARY} {'+' * 900}")
        await asyncio.gather(*(store.conversations.update(owner.id, one.id, longer) for one in made[::2]))
        await asyncio.gather(*(store.conversations.delete(owner.id, one.id) for one in made[1:]))
        await store.conversations.update(owner.id, made[0].id, ConversationChanges(title="kept"))
        await store.close()

    asyncio.run(deleted())
    assert files_with(tmp_path, CANARY) == []
    assert files_with(tmp_path, "kept") == ["jan.db"]


@pytest.mark.parametrize(("deletes", "warned"), [(False, []), (True, ["warning"])])
def test_an_import_deletes_no_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deletes: bool, warned: list[str]
) -> None:
    """Its marker holds none: a large database is not said to have deleted text in it."""
    monkeypatch.setattr("jan.storage.sqlite.erasure._SMALL_BYTES", 0)

    async def imported() -> None:
        store = SqliteStore(str(tmp_path / "jan.db"))
        await store.open()
        service, owner, ids = Conversations(store), User(email="a@b.c"), IdSource()
        made = ConversationRecord(user_id=owner.id, title="one")
        said = MessageRecord(conversation_id=made.id, role="user", items=items_made_of("hello"), sequence=1)
        await Imports(store, service.create).store(made, [said], ids)
        if deletes:
            await service.delete(owner.id, made.id)
        await store.close()

    with capture_logs() as logs:
        asyncio.run(imported())
    assert [line["log_level"] for line in logs if "deleted text" in line["event"]] == warned

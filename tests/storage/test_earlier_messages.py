"""Messages that were stored before messages had items: a migration gives them items, and all can read them."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from support.earlier_store import Document, change, documents, file_of, set_back

from jan.schema.stored_items import (
    NamespacedName,
    StoredCall,
    StoredCustomCall,
    StoredItems,
    StoredParts,
    StoredReasoning,
    StoredResult,
    StoredText,
    items_made_of,
)
from jan.storage import Store, store_from_url
from jan.storage.holdings import Amounts
from jan.storage.paging import size_of
from jan.storage.records import AnswerProgress, ConversationRecord, MessageRecord
from jan.storage.transfer import import_store

# The last version without items.
WITHOUT_ITEMS = 13
ME = "user_1"
CANARY = "canary-of-an-earlier-message"
LOOK_UP = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": '{"q":1}'}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:,", "a.b": {"$c": 2**60}}}
IN_A_NAMESPACE = {"name": "g", "namespace": "s"}
# What a message had, and the items that this is.
FORMS: list[tuple[dict[str, Any], StoredItems]] = [
    ({"role": "system", "content": "Be brief."}, (StoredText(text="Be brief."),)),
    ({"role": "user", "content": [IMAGE]}, (StoredParts(parts=[IMAGE]),)),
    (
        {"role": "assistant", "content": "Hm.", "reasoning": "Think.", "tool_calls": [LOOK_UP]},
        (
            StoredReasoning(text="Think."),
            StoredText(text="Hm."),
            StoredCall(id="call_1", name="look_up", arguments='{"q":1}'),
        ),
    ),
    (
        {"role": "tool", "content": "42 \u0000", "tool_call_id": "call_1"},
        (StoredResult(call_id="call_1", output="42 \u0000"),),
    ),
    (
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                # As they were stored of requests, and of answers.
                {
                    "id": "1",
                    "type": "custom",
                    "function": {"name": "f", "arguments": '{"input":"x"}'},
                    "custom": {"name": "f", "input": "x"},
                },
                {"id": "2", "type": "function", "function": {"name": "g", "arguments": {"a": 1}}},
                {"id": "3", "function": {"name": "s__g", "arguments": "{}"}, "namespaced": {**IN_A_NAMESPACE}},
            ],
        },
        (
            StoredCustomCall(id="1", name="f", input="x"),
            StoredCall(id="2", name="g", arguments='{"a":1}'),
            StoredCall(id="3", name="s__g", arguments="{}", namespaced=NamespacedName(**IN_A_NAMESPACE)),
        ),
    ),
    ({"role": "assistant", "content": ""}, (StoredText(text=""),)),
]


def as_earlier(url: str) -> Callable[[Document], Document]:
    """Turns documents of messages, in order of their sequence, into those of earlier versions."""
    fields = ("content", "reasoning", "tool_calls", "tool_call_id")

    def earlier(document: Document) -> Document:
        form = {name: FORMS[document["sequence"] - 1][0].get(name) for name in fields}
        if url.startswith("mongodb"):
            form = {
                name: {"json": json.dumps(value)} if isinstance(value, list) else value
                for name, value in form.items()
            }
        return {name: value for name, value in document.items() if name != "items"} | form

    return earlier


async def written(store: Store) -> list[MessageRecord]:
    """Store a message of each form, below each other."""
    conversation = ConversationRecord(user_id=ME)
    await store.conversations.create(conversation)
    for form, items in FORMS:
        message = MessageRecord(conversation_id=conversation.id, role=form["role"], items=items, status="partial")
        await store.messages.append(ME, message, at_head=True)
    return await store.messages.history(ME, conversation.id)


async def found(store: Store, conversation_id: str) -> list[MessageRecord]:
    return await store.messages.history(ME, conversation_id)


@pytest.fixture
def messages(store: Store, runner: asyncio.Runner, url: str) -> list[MessageRecord]:
    """Messages that a store has in the form of earlier versions."""
    stored = runner.run(written(store))
    change(url, "messages", as_earlier(url))
    assert not any("items" in document for document in documents(url, "messages"))
    return stored


@pytest.mark.parametrize("done", [0, 3], ids=["whole", "cut off"])
async def test_a_migration_gives_messages_items(store: Store, url: str, done: int) -> None:
    """All that they said is there, in order, nothing is left in the old form, and every byte is counted; also
    where an earlier attempt ended after a few messages."""
    stored = await written(store)
    await store.close()
    earlier = as_earlier(url)
    change(url, "messages", lambda found: found if found["sequence"] <= done else earlier(found))
    set_back(url, WITHOUT_ITEMS)
    await store.open()
    [conversation] = await store.archive.scan(ConversationRecord, after="", limit=9)
    assert await found(store, conversation.id) == stored
    for document in documents(url, "messages"):
        assert "items" in document
        assert not {"content", "reasoning", "tool_calls", "tool_call_id"} & set(document)
    size = sum(map(size_of, stored))
    assert conversation.message_bytes == size
    assert await store.holdings.of(ME) == Amounts(conversations=1, messages=len(FORMS), bytes=size)


async def test_messages_that_no_migration_has_reached_are_read(
    store: Store, messages: list[MessageRecord]
) -> None:
    """Everywhere: one by one, as a path, as a page, by id, and in the order of an export."""
    own = messages[0].conversation_id
    assert await found(store, own) == messages
    assert (await store.messages.page(ME, own, limit=20)).items == messages
    assert await store.messages.get(ME, own, messages[2].id) == messages[2]
    by_id = sorted(messages, key=lambda message: message.id)
    stored = await store.archive.matching(MessageRecord, [one.id for one in messages])
    assert sorted(stored, key=lambda message: message.id) == by_id
    assert await store.archive.scan(MessageRecord, after="", limit=20) == by_id


async def save(store: Store, message: MessageRecord) -> None:
    progress = AnswerProgress(items=items_made_of("Hi!"), status="complete")
    await store.messages.save(ME, message.conversation_id, message.id, progress)


async def empty(store: Store, message: MessageRecord) -> None:
    await store.messages.empty(ME, message.conversation_id, [message.id])


@pytest.mark.parametrize("act", [save, empty])
async def test_what_replaces_an_earlier_form_leaves_nothing_of_it(
    store: Store, url: str, act: Callable[[Store, MessageRecord], Awaitable[None]]
) -> None:
    """An answer that goes on, and a message whose content is deleted."""
    stored = (await written(store))[2]
    earlier = as_earlier(url)
    change(url, "messages", lambda document: earlier(document) | {"content": CANARY, "reasoning": CANARY})
    await act(store, stored)
    [document] = [one for one in documents(url, "messages") if one["sequence"] == stored.sequence]
    assert CANARY not in repr(document)
    assert (await store.messages.get(ME, stored.conversation_id, stored.id)).content in ("", "Hi!")


async def test_an_export_of_the_store_in_the_earlier_form_is_imported(store: Store, tmp_path: Path) -> None:
    times = {"created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z"}
    lines: list[Any] = [
        {"format": "jan-store-1"},
        {"kind": "conversation", "record": {"id": "conv_1", "user_id": ME, "message_count": len(FORMS), **times}},
    ]
    for number, (form, _) in enumerate(FORMS, 1):
        place = {"id": f"msg_{number}", "conversation_id": "conv_1", "sequence": number, **times}
        parent = f"msg_{number - 1}" if number > 1 else None
        lines.append({"kind": "message", "record": {**place, "parent_id": parent, **form}})
    lines += [
        {"kind": "user", "record": {"id": ME, "email": "a@example.com", **times}},
        {"records": len(lines)},
    ]
    path = tmp_path / "earlier.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert await import_store(store, path) == len(FORMS) + 2
    page = await store.messages.page(ME, "conv_1", limit=20)
    assert [message.items for message in page.items] == [items for _, items in FORMS]


async def test_what_is_deleted_after_a_migration_is_in_no_file(sqlite_url: str) -> None:
    """SQLite's files keep nothing of the earlier form."""
    store = store_from_url(sqlite_url)
    await store.open()
    conversation = ConversationRecord(user_id=ME)
    await store.conversations.create(conversation)
    said = [items_made_of(f"{CANARY} {'.' * (number * 37 % 900)}") for number in range(200)]
    messages = [MessageRecord(conversation_id=conversation.id, role="user", items=items) for items in said]
    await store.messages.append_all(ME, messages, at_head=True)
    await store.close()
    change(sqlite_url, "messages", lambda found: {**found, "content": found.pop("items")[0]["text"]})
    set_back(sqlite_url, WITHOUT_ITEMS)
    await store.open()
    assert files_with(file_of(sqlite_url).parent, CANARY)
    await store.conversations.delete(ME, conversation.id)
    await store.close()
    assert files_with(file_of(sqlite_url).parent, CANARY) == []


def files_with(folder: Path, text: str) -> list[str]:
    return [file.name for file in folder.iterdir() if text.encode() in file.read_bytes()]

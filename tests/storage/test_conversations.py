"""The contract of conversations and messages, on every backend."""

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from jan.conversations.expiry import expire
from jan.engine.base import Failed
from jan.errors import Conflict, InvalidRequest, NotFound, PayloadTooLarge, Unavailable
from jan.schema.stored_items import items_made_of
from jan.storage import Store
from jan.storage.conversation_lists import ListFilter
from jan.storage.records import (
    AnswerProgress,
    ConversationChanges,
    ConversationRecord,
    MessageRecord,
    MessageRole,
    TokenUsage,
    now,
)

ME, OTHER = "user_1", "user_2"


@pytest.fixture
def conversation(store: Store, runner: asyncio.Runner) -> ConversationRecord:
    """A conversation of ME's without messages."""
    made = ConversationRecord(user_id=ME, title="Plans")
    runner.run(store.conversations.create(made))
    return made


def message_in(conversation: ConversationRecord, content: Any = "hello", **fields: Any) -> MessageRecord:
    role: MessageRole = fields.pop("role", "user")
    parts = {name: fields.pop(name, None) for name in ("tool_calls", "tool_call_id")}
    items = items_made_of(content, **parts)
    return MessageRecord(conversation_id=conversation.id, items=items, role=role, **fields)


async def listed(store: Store, limit: int, title: str | None = None) -> list[str]:
    """The titles on all pages of ME's list."""
    titles, cursor = [], None
    while True:
        page = await store.conversations.page(ME, limit=limit, cursor=cursor, among=ListFilter(title=title))
        titles += [conversation.title for conversation in page.items]
        if (cursor := page.next_cursor) is None:
            return titles


async def test_a_conversation_comes_back_as_it_was_written(store: Store) -> None:
    """All fields return, whatever characters a client chose for keys of its metadata."""
    metadata = {"a.b": "1", "$set": "2", "": "3", "naïve \u0000": "4"}
    made = ConversationRecord(user_id=ME, title="Tea", model="m", metadata=metadata)
    await store.conversations.create(made)
    assert await store.conversations.get(ME, made.id) == made
    with pytest.raises(Conflict):
        await store.conversations.create(made)


async def test_conversations_that_nobody_named_are_found_by_age(store: Store) -> None:
    """Those of all users, the oldest first, unless they changed; and those alone."""
    old = now() - timedelta(days=3)
    made = [
        ConversationRecord(user_id=owner, unnamed=True, updated_at=old + timedelta(hours=number))
        for number, owner in enumerate((ME, OTHER, ME))
    ]
    for conversation in (*reversed(made), ConversationRecord(user_id=ME, updated_at=old)):
        await store.conversations.create(conversation)
    await store.conversations.update(ME, made[2].id, ConversationChanges(unnamed=False))
    assert await store.conversations.unnamed(now(), 9) == made[:2]
    assert await store.conversations.unnamed(now(), 1) == made[:1]
    assert await store.conversations.unnamed(old, 9) == []
    assert await expire(store, old + timedelta(minutes=30)) == 1
    assert await store.conversations.unnamed(now(), 9) == made[1:2]
    assert await expire(store, now()) == 1


async def test_a_conversation_is_its_owners_alone(store: Store, conversation: ConversationRecord) -> None:
    """Every operation on another user's conversation is NotFound, and changes nothing."""
    message = await store.messages.append(ME, message_in(conversation))
    progress = AnswerProgress(items=items_made_of("x"), status="complete")
    for attempt in (
        store.conversations.get(OTHER, conversation.id),
        store.conversations.update(OTHER, conversation.id, ConversationChanges(title="x")),
        store.conversations.delete(OTHER, conversation.id),
        store.messages.append(OTHER, message_in(conversation)),
        store.messages.get(OTHER, conversation.id, message.id),
        store.messages.save(OTHER, conversation.id, message.id, progress),
        store.messages.page(OTHER, conversation.id, limit=5),
        store.messages.history(OTHER, conversation.id),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert (await store.conversations.page(OTHER, limit=5)).items == []
    assert (await store.messages.page(ME, conversation.id, limit=5)).items == [message]


async def test_conversations_are_listed_newest_first(store: Store) -> None:
    """Pages follow each other without gap or repetition, also where times are equal."""
    start = now()
    for i in range(9):
        at = start + timedelta(milliseconds=i // 3)
        await store.conversations.create(
            ConversationRecord(id=f"conv_{i}", user_id=ME, title=str(i), updated_at=at)
        )
    newest_first = [str(i) for i in reversed(range(9))]
    for limit in (1, 2, 4, 9, 100):
        assert await listed(store, limit) == newest_first
    with pytest.raises(InvalidRequest):
        await store.conversations.page(ME, limit=1, cursor="$gt")


async def test_titles_are_searched(store: Store) -> None:
    """The search finds a part of the title in any case and takes no character for a pattern."""
    for title in ("Straße 100%", "STRASSE nach Rom", "a.b*c", "\u0041\u030angström"):
        await store.conversations.create(ConversationRecord(user_id=ME, title=title))
    assert sorted(await listed(store, 1, "strasse")) == ["STRASSE nach Rom", "Straße 100%"]
    assert await listed(store, 5, "0%") == ["Straße 100%"]
    assert await listed(store, 5, "a.b*") == ["a.b*c"]
    assert await listed(store, 5, "a_b") == []
    assert await listed(store, 5, "ÅNGSTRÖM\u0000") == ["\u0041\u030angström"]


async def test_an_update_moves_a_conversation_to_the_front(store: Store) -> None:
    """The named fields are set, the new title can be searched, and the conversation is the newest."""
    old, new = ConversationRecord(user_id=ME, title="old"), ConversationRecord(user_id=ME, title="new")
    await store.conversations.create(old)
    await store.conversations.create(new)
    await asyncio.sleep(0.002)
    changed = await store.conversations.update(ME, old.id, ConversationChanges(title="Older"))
    assert (changed.title, changed.metadata, changed.created_at) == ("Older", {}, old.created_at)
    assert changed.updated_at > new.updated_at
    assert await listed(store, 5) == ["Older", "new"]
    assert await listed(store, 5, "older") == ["Older"]
    changed = await store.conversations.update(ME, old.id, ConversationChanges(metadata={"k": "v"}))
    assert (changed.title, changed.metadata) == ("Older", {"k": "v"})
    assert await listed(store, 5, "older") == ["Older"]


async def test_a_deleted_conversation_takes_its_messages_along(
    store: Store, conversation: ConversationRecord
) -> None:
    """Nothing of it can be read afterwards, and nothing of it is left in the store."""
    await store.messages.append(ME, message_in(conversation))
    await store.conversations.delete(ME, conversation.id)
    for attempt in (
        store.conversations.get(ME, conversation.id),
        store.conversations.delete(ME, conversation.id),
        store.messages.append(ME, message_in(conversation)),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert await store.archive.count(MessageRecord) == 0


async def test_a_delete_among_appends_leaves_nothing(store: Store, conversation: ConversationRecord) -> None:
    """Appends that meet the deletion either come before it or are NotFound; no message survives."""
    appends = [store.messages.append(ME, message_in(conversation)) for _ in range(10)]
    delete = store.conversations.delete(ME, conversation.id)
    outcomes = await asyncio.gather(*appends[:5], delete, *appends[5:], return_exceptions=True)
    assert all(outcome is None or isinstance(outcome, (MessageRecord, NotFound)) for outcome in outcomes)
    assert await store.archive.count(MessageRecord) == 0


@pytest.mark.parametrize(
    "content",
    ["", "text \u0000 \U0001f600", None, [], [{"type": "text", "$where": {"a.b": [None, 1.5, 2**62, True]}}]],
)
async def test_a_message_comes_back_as_it_was_written(
    store: Store, conversation: ConversationRecord, content: Any
) -> None:
    """Content of any JSON shape returns as it was sent; the store adds the sequence number."""
    message = message_in(
        conversation,
        content,
        role="assistant",
        tool_calls=[{"id": "1", "function": {"name": "f", "arguments": "{}"}}],
        usage=TokenUsage(prompt_tokens=3, completion_tokens=4),
        finish_reason="stop",
        model="m",
    )
    stored = await store.messages.append(ME, message)
    assert stored.sequence == 1
    assert await store.messages.get(ME, conversation.id, message.id) == stored
    assert (await store.messages.page(ME, conversation.id, limit=1)).items == [stored]
    head = await store.conversations.get(ME, conversation.id)
    assert (head.head_id, head.message_count) == (message.id, 1)


async def test_a_parent_must_be_in_the_conversation(store: Store, conversation: ConversationRecord) -> None:
    """An unknown parent and one of another conversation are NotFound with the name of the field."""
    elsewhere = ConversationRecord(user_id=ME)
    await store.conversations.create(elsewhere)
    foreign = await store.messages.append(ME, message_in(elsewhere))
    for parent_id in ("msg_unknown", foreign.id):
        with pytest.raises(NotFound) as caught:
            await store.messages.append(ME, message_in(conversation, parent_id=parent_id))
        assert caught.value.param == "parent_id"
    assert (await store.conversations.get(ME, conversation.id)).message_count == 0


async def test_an_append_that_is_repeated_counts_once(store: Store, conversation: ConversationRecord) -> None:
    """A message sent again after an unclear outcome is there once; another of its id is a Conflict."""
    message = message_in(conversation)
    first = await store.messages.append(ME, message, at_head=True)
    await store.messages.append(ME, message_in(conversation, "next"), at_head=True)
    assert await store.messages.append(ME, message, at_head=True) == first
    with pytest.raises(Conflict):
        await store.messages.append(ME, message_in(conversation, "other", id=message.id))
    assert (await store.conversations.get(ME, conversation.id)).message_count == 2


async def test_messages_are_appended_together(store: Store, conversation: ConversationRecord) -> None:
    """In their order, each below its parent; the last one is the conversation's head."""
    root = await store.messages.append(ME, message_in(conversation, "root"))
    first = message_in(conversation, "first", parent_id=root.id)
    second = message_in(conversation, "second", parent_id=first.id, role="assistant", status="failed")
    await store.messages.append_all(ME, [first, second])
    path = await store.messages.history(ME, conversation.id)
    assert path == [root, msgspec.structs.replace(first, sequence=2), msgspec.structs.replace(second, sequence=3)]
    changed = await store.conversations.get(ME, conversation.id)
    assert (changed.head_id, changed.message_count) == (second.id, 3)
    assert changed.updated_at >= conversation.updated_at


async def test_none_is_appended_if_one_can_not_be(store: Store, conversation: ConversationRecord) -> None:
    """For an id that is taken, a parent that is not there, another's conversation or one that was deleted."""
    root = await store.messages.append(ME, message_in(conversation, "root"))
    before = await store.conversations.get(ME, conversation.id)
    for owner, first, error in (
        (ME, msgspec.structs.replace(root, parent_id=root.id), Conflict),
        (ME, message_in(conversation, parent_id="msg_1"), NotFound),
        (OTHER, message_in(conversation), NotFound),
        (ME, message_in(ConversationRecord(user_id=ME)), NotFound),
    ):
        answer = msgspec.structs.replace(message_in(conversation, role="assistant"), parent_id=first.id)
        with pytest.raises(error):
            await store.messages.append_all(owner, [first, answer])
    assert (await store.messages.page(ME, conversation.id, limit=9)).items == [root]
    assert await store.conversations.get(ME, conversation.id) == before


async def test_one_question_of_several_processes_at_once(
    store: Store, second_store: Store, conversation: ConversationRecord
) -> None:
    """One of them stores it with its answer. The others are told, and store nothing."""
    writers, own, at = (store, second_store) * 3, "chosen-by-the-client", now()
    questions = [
        message_in(conversation, id=own, created_at=at + timedelta(milliseconds=number)) for number in range(6)
    ]
    answers = [message_in(conversation, role="assistant", parent_id=own) for _ in writers]
    outcomes = await asyncio.gather(
        *(
            writer.messages.append_all(ME, [question, answer])
            for writer, question, answer in zip(writers, questions, answers, strict=True)
        ),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes if outcome is not None] == [Conflict] * 5
    (winner,) = [answer for answer, outcome in zip(answers, outcomes, strict=True) if outcome is None]
    path = (await store.messages.page(ME, conversation.id, limit=9)).items
    assert [message.id for message in path] == [own, winner.id]


async def test_turns_of_several_processes_at_once(
    store: Store, second_store: Store, conversation: ConversationRecord
) -> None:
    """Two servers append question and answer at the same time: all are there, in numbers without gaps."""

    async def turns(writer: Store, count: int) -> None:
        for _ in range(count):
            question = message_in(conversation)
            answer = message_in(conversation, role="assistant", parent_id=question.id)
            await writer.messages.append_all(ME, [question, answer])

    await asyncio.gather(*(turns(writer, 12) for writer in (store, second_store) * 2))
    items = (await store.messages.page(ME, conversation.id, limit=200)).items
    assert [message.sequence for message in items] == list(range(1, 97))
    assert (await store.conversations.get(ME, conversation.id)).message_count == 96


async def test_what_goes_below_the_head_is_one_path(
    store: Store, second_store: Store, conversation: ConversationRecord
) -> None:
    """Also if several processes add to it at the same time."""

    async def add(writer: Store) -> None:
        for _ in range(6):
            first = message_in(conversation)
            await writer.messages.append_all(
                ME, [first, message_in(conversation, parent_id=first.id)], at_head=True
            )

    await asyncio.gather(*(add(writer) for writer in (store, second_store) * 2))
    assert len(await store.messages.history(ME, conversation.id)) == 48


async def test_a_given_title_is_not_overruled(store: Store) -> None:
    """The title that a first message gives comes to nothing where somebody has set one meanwhile."""
    untitled = ConversationRecord(user_id=ME)
    await store.conversations.create(untitled)
    with pytest.raises(NotFound):
        await store.conversations.give_title(OTHER, untitled.id, "theirs")
    await store.conversations.give_title(ME, untitled.id, "By its first message")
    assert await listed(store, 10, "first MESSAGE") == ["By its first message"]
    await store.conversations.update(ME, untitled.id, ConversationChanges(title="Mine"))
    await store.conversations.give_title(ME, untitled.id, "Another")
    assert await listed(store, 10) == ["Mine"]


@pytest.mark.parametrize("field", ["tool_calls", "tool_call_id"])
async def test_a_message_is_more_than_its_text(store: Store, conversation: ConversationRecord, field: str) -> None:
    """Another message of the same id and text, but with other calls, is not taken for the first: it would be
    acknowledged and lost."""

    def told(number: str) -> MessageRecord:
        fields: dict[str, Any] = {"role": "tool", "tool_call_id": f"call_{number}"}
        if field == "tool_calls":
            call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": number}}
            fields = {"role": "assistant", "content": None, "tool_calls": [call]}
        return message_in(conversation, id="msg_of_the_client", **fields)

    first = await store.messages.append(ME, told("1"))
    assert await store.messages.append(ME, told("1")) == first
    with pytest.raises(Conflict):
        await store.messages.append(ME, told("2"))


async def test_an_object_too_large_is_refused_in_words(store: Store) -> None:
    """More than a backend's largest object is one of our errors, not the driver's; a backend that takes it
    keeps it whole."""
    large = ConversationRecord(user_id=ME, metadata={"text": "x" * 17_000_000})
    try:
        await store.conversations.create(large)
    except PayloadTooLarge:
        return
    assert await store.conversations.get(ME, large.id) == large


async def test_fifty_appends_at_once_all_survive(store: Store, conversation: ConversationRecord) -> None:
    """Each of fifty writers' messages is there once, numbers run without a gap, and the tree is one chain."""
    messages = [message_in(conversation, str(i)) for i in range(50)]
    stored = await asyncio.gather(*(store.messages.append(ME, m, at_head=True) for m in messages))
    page = await store.messages.page(ME, conversation.id, limit=100)
    assert [message.sequence for message in page.items] == list(range(1, 51))
    assert {m.id: m for m in page.items} == {m.id: m for m in stored}
    assert await store.messages.history(ME, conversation.id) == page.items


async def test_writers_of_several_processes_share_a_conversation(
    store: Store, second_store: Store, conversation: ConversationRecord
) -> None:
    """Appends through two stores that know nothing of each other end up in one gapless chain."""
    appends = [
        writer.messages.append(ME, message_in(conversation, str(i)), at_head=True)
        for i in range(10)
        for writer in (store, second_store)
    ]
    await asyncio.gather(*appends)
    history = await store.messages.history(ME, conversation.id)
    assert [message.sequence for message in history] == list(range(1, 21))


async def test_messages_are_listed_in_pages(store: Store, conversation: ConversationRecord) -> None:
    """Both directions list every message once; a malformed cursor is InvalidRequest."""
    for i in range(5):
        await store.messages.append(ME, message_in(conversation, str(i)), at_head=True)
    for newest_first, expected in ((False, "01234"), (True, "43210")):
        seen, cursor = "", None
        while True:
            page = await store.messages.page(
                ME, conversation.id, limit=2, cursor=cursor, newest_first=newest_first
            )
            seen += "".join(str(message.content) for message in page.items)
            if (cursor := page.next_cursor) is None:
                break
        assert seen == expected
    with pytest.raises(InvalidRequest):
        await store.messages.page(ME, conversation.id, limit=2, cursor="-1")


async def test_history_follows_one_branch(store: Store, conversation: ConversationRecord) -> None:
    """The path to a message leaves out the other branches; a limit keeps its nearest end."""

    async def append(content: str, parent: MessageRecord | None) -> MessageRecord:
        parent_id = parent.id if parent else None
        return await store.messages.append(ME, message_in(conversation, content, parent_id=parent_id))

    async def history(message: MessageRecord | None, limit: int | None = None) -> str:
        message_id = message.id if message else None
        path = await store.messages.history(ME, conversation.id, message_id=message_id, limit=limit)
        return "".join(str(found.content) for found in path)

    assert await history(None) == ""
    a = await append("a", None)
    b = await append("b", a)
    c = await append("c", b)
    x = await append("x", a)
    y = await append("y", x)
    z = await append("z", None)
    assert [await history(m) for m in (a, b, c, x, y, z)] == ["a", "ab", "abc", "ax", "axy", "z"]
    assert await history(None) == "z"
    assert (await history(c, 2), await history(c, 1), await history(c, 9)) == ("bc", "c", "abc")
    with pytest.raises(NotFound):
        await store.messages.history(ME, conversation.id, message_id="msg_unknown")


async def test_an_answer_grows_until_it_is_complete(store: Store, conversation: ConversationRecord) -> None:
    """A streaming message is saved as often as need be; complete is final, said twice it is no error."""
    answer = message_in(conversation, "", role="assistant", status="streaming", model="m")
    await store.messages.append(ME, answer)
    failure = Failed.without_headers(Unavailable("It stopped.", code="engine_dead", headers={"Retry-After": "5"}))
    steps = [
        AnswerProgress(items=items_made_of("He"), status="streaming"),
        AnswerProgress(items=items_made_of("Hel"), status="partial", failure=failure),
    ]
    usage = TokenUsage(prompt_tokens=1, completion_tokens=2)
    whole = AnswerProgress(items=items_made_of("Hello"), status="complete", finish_reason="stop", usage=usage)
    for progress in (*steps, whole, whole):
        saved = await store.messages.save(ME, conversation.id, answer.id, progress)
        assert (saved.items, saved.status, saved.failure) == (progress.items, progress.status, progress.failure)
        assert await store.messages.get(ME, conversation.id, answer.id) == saved
    assert (saved.finish_reason, saved.usage, saved.model, saved.sequence) == ("stop", usage, "m", 1)
    with pytest.raises(Conflict):
        await store.messages.save(ME, conversation.id, answer.id, steps[0])
    with pytest.raises(NotFound):
        await store.messages.save(ME, conversation.id, "msg_unknown", whole)


async def test_answers_of_a_dead_server_become_partial(store: Store, conversation: ConversationRecord) -> None:
    """Streaming messages not saved for a while are marked; fresh ones and complete ones are left alone."""
    at = now()
    old = message_in(conversation, "He", status="streaming", updated_at=at - timedelta(minutes=5))
    fresh = message_in(conversation, "He", status="streaming")
    done = message_in(conversation, "He", updated_at=at - timedelta(minutes=5))
    for message in (old, fresh, done):
        await store.messages.append(ME, message)
    assert await store.messages.end_stale_streams(at - timedelta(minutes=1)) == 1
    assert await store.messages.end_stale_streams(at - timedelta(minutes=1)) == 0
    page = await store.messages.page(ME, conversation.id, limit=5)
    assert [message.status for message in page.items] == ["partial", "streaming", "complete"]
    assert page.items[0].content == "He"

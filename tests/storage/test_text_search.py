"""The contract of searches in texts, on every backend."""

from collections.abc import Callable
from typing import Any

import pytest
from support.earlier_store import set_back
from support.mongodb import mongo_client

from jan.schema.stored_items import StoredParts, StoredReasoning, StoredText, items_made_of
from jan.storage import Store
from jan.storage.folded_text import FoldedText, fold
from jan.storage.records import AnswerProgress, ConversationRecord, MessageRecord, now
from jan.storage.text_search import SEARCHED_CHARACTERS, Found, Wanted
from jan.tasks import apart

ME, OTHER = "user_1", "user_2"
# The last version whose texts were not searched.
WITHOUT_SEARCH = 16


@pytest.fixture
def many(url: str) -> int:
    """More messages than a store indexes in one go: SQLite in two blocks of 256, MongoDB in a batch of 100."""
    return 600 if url.startswith("sqlite") else 120


async def conversation_of(store: Store, user_id: str = ME, title: str = "") -> ConversationRecord:
    made = ConversationRecord(user_id=user_id, title=title)
    await store.conversations.create(made)
    return made


async def said(store: Store, conversation: ConversationRecord, *texts: str, **fields: Any) -> list[MessageRecord]:
    messages = [
        MessageRecord(conversation_id=conversation.id, role="user", items=items_made_of(text), **fields)
        for text in texts
    ]
    for message in messages:
        await store.messages.append(conversation.user_id, message, at_head=True)
    return messages


async def indexed(store: Store) -> None:
    while await store.search.index_some():
        pass


def shown(found: Found) -> list[str]:
    """The snippets, the hits in brackets, the most relevant first."""
    ranked = sorted(found.hits, key=lambda hit: hit.position, reverse=True)
    return ["".join(f"[{part.text}]" if part.hit else part.text for part in hit.snippet) for hit in ranked]


@pytest.mark.parametrize("is_large", [False, True], ids=["few", "many"])
async def test_texts_are_found_however_they_are_written(store: Store, many: int, is_large: bool) -> None:
    """By parts of words, without case and accents, in any script, whether or not they are in an index yet."""
    first = await conversation_of(store, title="Über die Straße")
    await said(
        store, first, "Crème BRÛLÉE at noon", "東京に行く", "foo* NEAR (bar) 100%", "hard\n  boiled eggs", "がぎ"
    )
    if is_large:
        await store.messages.append_all(
            ME,
            [
                MessageRecord(conversation_id=first.id, role="user", items=items_made_of(f"filler number {n}"))
                for n in range(many)
            ],
            at_head=True,
        )
        await indexed(store)
    for query, hits in (
        ("creme brulee", ["[Crème] [BRÛLÉE] at noon"]),
        ("RÛL noon", ["Crème B[RÛL]ÉE at [noon]"]),
        ("東京", ["[東京]に行く"]),
        ("行", ["東京に[行]く"]),
        ("foo*", ["[foo*] NEAR (bar) 100%"]),
        ("NEAR (bar", ["foo* [NEAR] [(bar]) 100%"]),
        ("0%", ["foo* NEAR (bar) 10[0%]"]),
        ('"hard boiled"', ["[hard\n  boiled] eggs"]),
        ('"boiled hard"', []),
        ("boiled hard", ["[hard]\n  [boiled] eggs"]),
        ("strasse", ["Über die [Straße]"]),
        ("ass die", ["Über [die] Str[aß]e"]),
        ("か", []),
        ("noon eggs", []),
        ('"', []),
        ("x OR noon", []),
    ):
        wanted = Wanted(query)
        if wanted.words:
            found = await store.search.find(ME, wanted)
            assert (query, shown(found), found.indexing) == (query, hits, False)
    last = await store.search.find(ME, Wanted(f'"number {many - 1}"'))
    assert shown(last) == ([f"filler [number {many - 1}]"] if is_large else [])


async def test_what_is_not_said_is_not_found(store: Store) -> None:
    """Neither reasoning, nor what others said; parts of a message are."""
    mine, theirs = await conversation_of(store), await conversation_of(store, OTHER, "walrus")
    await said(store, theirs, "walrus")
    parts = StoredParts(
        parts=[{"type": "text", "text": "a pelican"}, {"type": "image_url", "image_url": "walrus"}]
    )
    items = (StoredReasoning(text="walrus"), StoredText(text="an otter"), parts)
    await store.messages.append(ME, MessageRecord(conversation_id=mine.id, role="assistant", items=items))
    await said(store, mine, "y" * SEARCHED_CHARACTERS + " walrus")
    await indexed(store)
    assert shown(await store.search.find(ME, Wanted("walrus"))) == []
    assert shown(await store.search.find(ME, Wanted("otter pelican"))) == ["an [otter]\na [pelican]"]
    assert len((await store.search.find(OTHER, Wanted("walrus"))).hits) == 2


async def test_the_most_relevant_come_first(store: Store) -> None:
    """Titles, then whole words, then those that are there more often, then newer ones."""
    titled = await conversation_of(store, title="seedlings")
    for number, text in enumerate(("linseed", "seed one", "seed two", "a seed is a seed")):
        await said(store, titled, text, id=f"msg_{number}")
    assert shown(await store.search.find(ME, Wanted("seed"))) == [
        "[seed]lings",
        "a [seed] is a [seed]",
        "[seed] two",
        "[seed] one",
        "lin[seed]",
    ]


async def test_what_is_changed_or_deleted_is_not_found(store: Store, many: int) -> None:
    """Messages that were emptied, answers that went on, and conversations that are gone, indexed before or not."""
    kept, gone = await conversation_of(store), await conversation_of(store)
    [first, _] = await said(store, kept, "a heron", "a kept heron")
    await said(store, gone, "a heron that goes")
    answer = MessageRecord(
        conversation_id=kept.id, role="assistant", items=items_made_of("heron half"), status="partial"
    )
    await store.messages.append(ME, answer, at_head=True)
    others = [MessageRecord(conversation_id=kept.id, role="user", items=items_made_of("-")) for _ in range(many)]
    await store.messages.append_all(ME, others, at_head=True)
    await indexed(store)
    assert len((await store.search.find(ME, Wanted("heron"))).hits) == 4
    await store.messages.empty(ME, kept.id, [first.id])
    progress = AnswerProgress(items=items_made_of("an egret, whole"), status="complete")
    await store.messages.save(ME, kept.id, answer.id, progress)
    await store.conversations.delete(ME, gone.id)
    for _ in range(2):
        assert shown(await store.search.find(ME, Wanted("heron"))) == ["a kept [heron]"]
        assert shown(await store.search.find(ME, Wanted("egret"))) == ["an [egret], whole"]
        await indexed(store)


@pytest.mark.parametrize("url", ["mongodb"], indirect=True)
async def test_a_text_that_is_emptied_while_it_is_indexed_leaves_no_trace(
    store: Store, second_store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if another server has indexed it meanwhile, and the clock stands still. SQLite changes a text and its
    index in one transaction."""
    still = now()
    for module in ("messages", "conversations"):
        monkeypatch.setattr(f"jan.storage.mongo.{module}.now", lambda: still)
    kept = await conversation_of(store)
    [message] = await said(store, kept, "a secret stork", created_at=still, updated_at=still)
    turns = 0

    async def others_go_first(count: int, work: Callable[[], Any]) -> Any:
        nonlocal turns
        turns += 1
        made = await apart(count, work)
        if turns == 1:
            await second_store.search.index_some()
            await second_store.messages.empty(ME, kept.id, [message.id])
        return made

    monkeypatch.setattr("jan.storage.mongo.text_search.apart", others_go_first)
    await store.search.index_some()
    with mongo_client(url) as client:
        [stored] = client.get_default_database()["messages"].find({"_id": message.id})
    assert (turns, stored.get("grams"), stored.get("unsearched")) == (2, None, True)


async def test_texts_that_were_imported_are_found(store: Store) -> None:
    """Their messages are stored before their conversation is."""
    imported = ConversationRecord(user_id=ME, message_count=1)
    message = MessageRecord(conversation_id=imported.id, role="user", sequence=1, items=items_made_of("an osprey"))
    await store.archive.insert(MessageRecord, [message])
    await indexed(store)
    await store.archive.insert(ConversationRecord, [imported])
    await indexed(store)
    assert shown(await store.search.find(ME, Wanted("osprey"))) == ["an [osprey]"]


@pytest.mark.parametrize("steps", [0, 1])
async def test_texts_of_earlier_versions_are_indexed_in_the_background(
    store: Store, url: str, many: int, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And found meanwhile, or the search says that they are not yet; a server that ends in between loses
    nothing."""
    old = await conversation_of(store, title="Élan")
    messages = [
        MessageRecord(conversation_id=old.id, role="user", items=items_made_of(f"gannet {n}"), id=f"msg_{n:04}")
        for n in range(many)
    ]
    await store.messages.append_all(ME, messages, at_head=True)
    await store.close()
    set_back(url, WITHOUT_SEARCH)
    monkeypatch.setattr("jan.storage.text_search.MOST_READ", 400)
    await store.open()
    for _ in range(steps):
        assert await store.search.index_some()
    await store.close()
    await store.open()
    early = await store.search.find(ME, Wanted('"gannet 0"'))
    assert early.indexing or early.hits
    await indexed(store)
    late = await store.search.find(ME, Wanted('"gannet 0"'))
    assert ([hit.message_id for hit in late.hits], late.indexing) == (["msg_0000"], False)
    assert shown(await store.search.find(ME, Wanted("elan"))) == ["[Élan]"]


@pytest.mark.parametrize(
    ("text", "part", "original"),
    [
        ("Straße", "s", "ß"),
        ("cafe\u0301!", "e", "e\u0301"),
        ("\ufb03x", "ffi", "\ufb03"),
        ("é" * 700 + "b", "b", "b"),
        ("한국어 b", "국", "국"),
        ("A\0B", "b", "B"),
        ("İx", "i", "İ"),
    ],
)
def test_places_in_folded_texts_lead_back(text: str, part: str, original: str) -> None:
    """To the whole letters that they were made of."""
    folded = FoldedText(text)
    start = folded.folded.rindex(part)
    begin, end = folded.original(start, start + len(part))
    assert text[begin:end] == original
    assert folded.folded == fold(text) == fold(fold(text))

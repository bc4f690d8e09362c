"""Large messages: a page and a path hold no more bytes than their budgets, on every backend."""

import asyncio

import pytest

from jan.errors import InvalidRequest
from jan.schema.stored_items import items_made_of
from jan.storage import Store
from jan.storage.paging import PAGE_BYTES, PATH_BYTES, size_of
from jan.storage.records import ConversationRecord, MessageRecord

ME = "user_1"
LARGE = "x" * 4_000_000
COUNT = 7


@pytest.fixture
def large(store: Store, runner: asyncio.Runner) -> ConversationRecord:
    """A conversation with a path that is larger than the budgets."""
    made = ConversationRecord(user_id=ME, title="Large")

    async def fill() -> None:
        await store.conversations.create(made)
        for number in range(COUNT):
            message = MessageRecord(conversation_id=made.id, items=items_made_of(f"{number}{LARGE}"), role="user")
            await store.messages.append(ME, message, at_head=True)

    runner.run(fill())
    return made


@pytest.mark.parametrize("newest_first", [False, True])
async def test_pages_end_early(store: Store, large: ConversationRecord, newest_first: bool) -> None:
    """Every page is within the budget, and all of them together have every message once."""
    seen, cursor = "", None
    while True:
        page = await store.messages.page(ME, large.id, limit=500, cursor=cursor, newest_first=newest_first)
        assert page.items
        assert sum(map(size_of, page.items)) <= PAGE_BYTES
        seen += "".join(str(message.content)[0] for message in page.items)
        if (cursor := page.next_cursor) is None:
            break
    assert seen == ("6543210" if newest_first else "0123456")


async def test_long_paths_are_refused(store: Store, large: ConversationRecord) -> None:
    """A path beyond the budget is InvalidRequest in words; a part of it that fits is given."""
    with pytest.raises(InvalidRequest, match=str(PATH_BYTES)) as caught:
        await store.messages.history(ME, large.id)
    assert (caught.value.code, caught.value.param) == ("conversation_too_long", "conversation_id")
    path = await store.messages.history(ME, large.id, limit=3)
    assert [str(message.content)[0] for message in path] == ["4", "5", "6"]

"""Finds the place of a question in its conversation, before anything of it is stored."""

from collections.abc import Sequence
from functools import partial

import msgspec
from msgspec import UNSET, UnsetType

from jan.conversations.history import check_message, from_chat, has_content
from jan.errors import Conflict, InvalidRequest, NotFound
from jan.schema import messages as chat
from jan.storage.records import ConversationRecord, MessageRecord
from jan.storage.repositories import Store
from jan.storage.shared_rules import same_message
from jan.tasks import apart

_replace = msgspec.structs.replace
# The longest path from the root that a model gets: as many messages as a request may have.
_LONGEST_PATH = 4096


class Place(msgspec.Struct, frozen=True):
    """The place of a question.

    - ``before``: the stored messages above it, from the root down.
    - ``asked_again``: the stored message that is answered again, for a request without messages.
    - ``new``: the request's messages that are not stored yet, each below the one before it.
    - ``parent_id``: the message that the answer goes below.
    - ``is_new``: the conversation is not stored yet either.
    - ``named``: the request names the conversation.
    """

    conversation: ConversationRecord
    before: list[MessageRecord]
    asked_again: MessageRecord | None
    new: list[MessageRecord]
    parent_id: str
    is_new: bool = False
    named: bool = False


async def first_place(
    conversation: ConversationRecord, messages: Sequence[chat.Message], message_id: str | None
) -> Place:
    """Return the place of messages that begin a conversation. The last gets ``message_id``, unless it is None.

    Raises InvalidRequest.
    """
    if not messages:
        raise _nothing_to_answer()

    def placed() -> tuple[list[MessageRecord], str | None]:
        asked = kept_form(messages, conversation.id)
        return in_line(asked if message_id is None else _numbered(asked, message_id), None)

    new, below = await apart(len(messages), placed)
    assert below is not None  # there is a message
    return Place(conversation, [], None, new, below, is_new=True)


class Opening:
    """Looks for places in one conversation of a user."""

    def __init__(self, store: Store, user_id: str, conversation_id: str) -> None:
        self._store = store
        self._user_id = user_id
        self._conversation_id = conversation_id

    async def place_of(
        self, messages: Sequence[chat.Message], parent_id: str | UnsetType | None, message_id: str | None
    ) -> Place:
        """Return the place of a request's messages; see ``Conversations.open_turn``."""
        asked = await apart(len(messages), lambda: kept_form(messages, self._conversation_id))
        conversation = await self._conversation()
        known = 0
        if message_id is not None:
            asked = await apart(len(asked), partial(_numbered, asked, message_id))
            known = await self._stored_of(asked, parent_id)
        path = await self._path(asked[known - 1].id if known else parent_id)
        if not asked:
            path = _to_last_question(path)
        above = path[-1].id if path else None
        new, below = await apart(len(asked), lambda: in_line(asked[known:], above))
        again = None if asked else path[-1]
        before = path[: len(path) - (known if asked else 1)]
        assert below is not None  # of a message of the request, or of ``again``
        return Place(conversation, before, again, new, below)

    async def _conversation(self) -> ConversationRecord:
        try:
            return await self._store.conversations.get(self._user_id, self._conversation_id)
        except NotFound as error:
            raise NotFound(error.message, param="conversation_id") from None

    async def _stored_of(self, asked: list[MessageRecord], parent_id: str | UnsetType | None) -> int:
        """Return how many of a request's messages an earlier request stored. Raises Conflict for others' ids."""
        found = await self._store.archive.matching(MessageRecord, [message.id for message in asked])
        stored = {message.id: message for message in found}
        known, above = 0, parent_id
        for message in asked:
            if message.id not in stored:
                break
            _check_same(stored.pop(message.id), message, above)
            known, above = known + 1, message.id
        if stored:
            raise _taken()
        return known

    async def _path(self, message_id: str | UnsetType | None) -> list[MessageRecord]:
        """Return all messages from the root down to this one. UNSET is the message appended last, None is none."""
        if message_id is None:
            return []
        at = None if isinstance(message_id, UnsetType) else message_id
        try:
            path = await self._store.messages.history(
                self._user_id, self._conversation_id, message_id=at, limit=_LONGEST_PATH
            )
        except NotFound as error:
            raise NotFound(error.message, param="parent_message_id") from None
        if path and path[0].parent_id is not None:
            raise InvalidRequest(
                f"The prompt is too long: the conversation has more than {_LONGEST_PATH} messages from its root "
                "to this one. Begin another, or a branch nearer to the root.",
                code="context_length_exceeded",
                param="conversation_id",
            )
        return path


def kept_form(messages: Sequence[chat.Message], conversation_id: str) -> list[MessageRecord]:
    """Return messages as a conversation keeps them. Raises InvalidRequest for one that no model could get."""
    return [check_message(from_chat(message, conversation_id)) for message in messages]


def in_line(messages: Sequence[MessageRecord], parent_id: str | None) -> tuple[list[MessageRecord], str | None]:
    """Return messages each below the one before it, the first below ``parent_id``, and the id of the last."""
    placed = []
    for message in messages:
        placed.append(_replace(message, parent_id=parent_id))
        parent_id = message.id
    return placed, parent_id


def _numbered(asked: list[MessageRecord], message_id: str) -> list[MessageRecord]:
    """Return the messages with ids that are the same when the request is sent again."""
    ids = [*(f"{message_id}.{number}" for number in range(1, len(asked))), message_id]
    return [_replace(message, id=own) for message, own in zip(asked, ids, strict=True)]


def _check_same(stored: MessageRecord, message: MessageRecord, parent_id: str | UnsetType | None) -> None:
    """Raise Conflict unless a stored message is this one, and below the same parent."""
    try:
        same_message(stored, message)
    except Conflict:
        raise _taken() from None
    if parent_id is not UNSET and stored.parent_id != parent_id:
        raise _taken()


def _to_last_question(path: list[MessageRecord]) -> list[MessageRecord]:
    """Return the path without answers at its end that have no content: what they answer is answered again."""
    while path and path[-1].role == "assistant" and not has_content(path[-1]):
        path = path[:-1]
    if not path or path[-1].role == "assistant":
        raise _nothing_to_answer()
    return path


def _taken() -> Conflict:
    return Conflict(
        "message_id: Another message has this id, or has it below another parent. Choose a new one, or send the "
        "same request.",
        param="message_id",
    )


def _nothing_to_answer() -> InvalidRequest:
    return InvalidRequest(
        "messages: There is no message to answer. Send one that is not the assistant's, or name one with "
        "parent_message_id.",
        code="invalid_value",
        param="messages",
    )

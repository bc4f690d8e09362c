"""Copies of exported conversations: new identifiers, the same tree."""

from collections.abc import Sequence
from contextlib import suppress
from typing import get_args

import msgspec

from jan.conversations.history import check_message
from jan.errors import Conflict, InvalidRequest, NotFound
from jan.idempotency.ids import IdSource
from jan.importing.trees import origin_of
from jan.schema.import_reports import ForeignKind
from jan.schema.plain_text import cleaned
from jan.storage.paging import size_of
from jan.storage.records import ConversationRecord, MessageRecord, now
from jan.storage.repositories import Store

# Origins of conversations that were exported by a server like this one.
_OURS = "jan"
_KINDS = (*get_args(ForeignKind), _OURS)
_replace = msgspec.structs.replace


async def first_copy(
    store: Store, user_id: str, exported: ConversationRecord, ids: IdSource
) -> ConversationRecord:
    """Return an exported conversation with the origin that keeps its user from having it twice.

    Raises Conflict if the user has the conversation itself, or one of the same origin, unless ``ids`` are those of
    an earlier attempt, which may have stored it.
    """
    kind, _, own_id = (exported.origin or "").partition(":")
    origin = origin_of(kind, own_id, b"") if own_id and kind in _KINDS else origin_of(_OURS, exported.id, b"")
    if not ids.again and (await _has(store, user_id, exported.id) or await _knows(store, user_id, origin)):
        raise Conflict("This conversation is here already.", code="already_exists")
    return _replace(exported, origin=origin)


async def _has(store: Store, user_id: str, conversation_id: str) -> bool:
    with suppress(NotFound):
        return await store.conversations.get(user_id, conversation_id) is not None
    return False


async def _knows(store: Store, user_id: str, origin: str) -> bool:
    return bool(await store.conversations.known_origins(user_id, [origin]))


def copy_of(
    user_id: str, conversation: ConversationRecord, messages: Sequence[MessageRecord], ids: IdSource
) -> tuple[ConversationRecord, list[MessageRecord]]:
    """Return a copy of a conversation and its messages that belongs to a user, with new identifiers from ``ids``.

    Raises:
        InvalidRequest: if a message has a wrong sequence, id or parent, or could not be sent to a model.
    """
    new_ids = _new_ids(messages, ids)
    at, conversation_id = now(), ids.new_id("conv")
    copies = [
        _replace(
            check_message(message),
            id=new_ids[message.id],
            conversation_id=conversation_id,
            parent_id=None if message.parent_id is None else new_ids[message.parent_id],
            # Nothing continues an answer that was still being generated when it was exported.
            status="partial" if message.status == "streaming" else message.status,
        )
        for message in messages
    ]
    copy = _replace(
        conversation,
        id=conversation_id,
        user_id=user_id,
        title=cleaned(conversation.title),
        updated_at=min(conversation.updated_at, at),
        head_id=copies[-1].id if copies else None,
        message_count=len(copies),
        message_bytes=sum(map(size_of, copies)),
    )
    return copy, copies


def _new_ids(messages: Sequence[MessageRecord], ids: IdSource) -> dict[str, str]:
    """Return a new id for each message's id. Raises InvalidRequest for a wrong sequence, id or parent."""
    new_ids: dict[str, str] = {}
    for number, message in enumerate(messages, 1):
        fault = None
        if message.sequence != number:
            fault = f"The sequence is {message.sequence}, not {number}."
        elif message.id in new_ids:
            fault = "An earlier message has the same id."
        elif message.parent_id is not None and message.parent_id not in new_ids:
            fault = "No message before it has the id of its parent."
        if fault is not None:
            raise InvalidRequest(f"line {number + 1}: {fault}", code="invalid_export")
        new_ids[message.id] = ids.new_id("msg")
    return new_ids

"""Decisions that both backends must make alike: applying changes, error messages, rotation of refresh tokens."""

from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

import msgspec
from msgspec import UNSET

from jan.errors import Conflict, NotFound
from jan.schema.stored_items import items_made_of
from jan.storage.preset_records import PresetChanges
from jan.storage.records import (
    AnswerProgress,
    ApiKey,
    ConversationChanges,
    MessageRecord,
    Record,
    UserChanges,
)
from jan.storage.session_records import RefreshSession, Rotation

R = TypeVar("R", bound=Record)


def apply(record: R, changes: UserChanges | ConversationChanges | PresetChanges) -> R:
    """Return the record with the fields that ``changes`` sets."""
    fields = {name: getattr(changes, name) for name in changes.__struct_fields__}
    return msgspec.structs.replace(record, **{k: v for k, v in fields.items() if v is not UNSET})


def with_progress(message: MessageRecord, progress: AnswerProgress, at: datetime) -> MessageRecord:
    """Return the message with its answer so far. Raises Conflict if it is complete and differs."""
    saved = msgspec.structs.replace(
        message, updated_at=message.next_change(at), **msgspec.structs.asdict(progress)
    )
    if message.status != "complete":
        return saved
    if msgspec.structs.replace(saved, updated_at=message.updated_at) != message:
        raise Conflict("A complete message is never changed. Append another one.", code="message_complete")
    return message


def emptied(message: MessageRecord, at: datetime) -> MessageRecord:
    """Return a message without its content. It is complete: an answer under way adds nothing to it any more."""
    return msgspec.structs.replace(
        message,
        items=items_made_of("", tool_call_id=message.tool_call_id, is_result=message.role == "tool"),
        response={"emptied": True},
        status="complete",
        failure=None,
        updated_at=message.next_change(at),
    )


def below(parent_id: str | None, messages: Sequence[MessageRecord]) -> list[MessageRecord]:
    """Return the messages with the first of them below ``parent_id``."""
    return [msgspec.structs.replace(messages[0], parent_id=parent_id), *messages[1:]]


def same_message(stored: MessageRecord, message: MessageRecord) -> MessageRecord:
    """Return the stored message if it equals the one appended again. Raises Conflict otherwise."""
    for field in ("conversation_id", "role", "content", "tool_calls", "tool_call_id"):
        if getattr(stored, field) != getattr(message, field):
            raise Conflict("Another message has this id. Choose a new one or send the same message.", param="id")
    return stored


def rotated_key(key: ApiKey, replacement_id: str, grace_ends: datetime) -> ApiKey:
    """Return the key with its successor and end of grace. Raises Conflict if it is revoked or already replaced."""
    if key.revoked_at or key.replaced_by:
        state = "revoked" if key.revoked_at else "rotated already"
        raise Conflict(f"This key is {state}. Only a key in use can be rotated.", code="key_not_in_use")
    ends = min(grace_ends, key.expires_at or grace_ends)
    return msgspec.structs.replace(key, replaced_by=replacement_id, expires_at=ends)


def rotation_refusal(session: RefreshSession | None, presented_jti: str, at: datetime) -> Rotation | None:
    """Return the reason why a refresh token can't be rotated, or None. "reused" must also end the session."""
    if session is None:
        return Rotation("unknown")
    if session.ended_at is not None:
        return Rotation("ended", session)
    if session.current_jti != presented_jti:
        ended = msgspec.structs.replace(session, ended_at=at, reason="reused")
        return Rotation("reused", ended)
    return Rotation("expired", session) if session.expires_at <= at else None


def missing(kind: type[Record], *, param: str | None = None) -> NotFound:
    """Make the error for an object that does not exist or belongs to another user."""
    return NotFound(f"No {_name(kind)} with this id.", param=param)


def taken(kind: type[Record], field: str) -> Conflict:
    """Make the error for a value that another object already has."""
    return Conflict(f"Another {_name(kind)} has this {field}.", param=field, code="already_exists")


def _name(kind: type[Record]) -> str:
    names = {"ApiKey": "API key", "RefreshSession": "session"}
    return names.get(kind.__name__, kind.__name__.removesuffix("Record").lower())

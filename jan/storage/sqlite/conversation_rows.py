"""Rows of conversations, as all repositories of messages need them within their transactions."""

import sqlite3

import msgspec

from jan.storage.conversation_lists import ListFilter
from jan.storage.holdings import Amounts, amounts_of
from jan.storage.records import ConversationRecord
from jan.storage.shared_rules import missing
from jan.storage.sqlite.holdings import change
from jan.storage.sqlite.tables import CONVERSATIONS


def count_bytes(db: sqlite3.Connection, conversation: ConversationRecord, grown: int) -> None:
    """Count bytes by which a conversation's messages have grown."""
    change(db, conversation.user_id, Amounts(bytes=grown))
    size = max(0, conversation.message_bytes + grown)
    CONVERSATIONS.replace(db, msgspec.structs.replace(conversation, message_bytes=size))


def owned(db: sqlite3.Connection, user_id: str, conversation_id: str) -> ConversationRecord:
    """Return a user's conversation. Raises NotFound."""
    found = CONVERSATIONS.find(db, "id = ? AND user_id = ?", conversation_id, user_id)
    if found is None:
        raise missing(ConversationRecord)
    return found


def held_by_conversation(db: sqlite3.Connection, conversation: ConversationRecord) -> Amounts:
    """Return what a conversation counts, with its messages and shares."""
    sql = "SELECT count(*) FROM shares WHERE conversation_id = ?"
    [shares] = db.execute(sql, (conversation.id,)).fetchone()
    return amounts_of(conversation).plus(Amounts(shares=shares))


def filtered(among: ListFilter) -> tuple[str, list[str]]:
    """Return the conditions of a list, with the values of their marks. Partial indexes need literals."""
    flags = {"pinned": among.pinned, "archived": among.archived}
    conditions = [f"AND {name} = {int(flag)}" for name, flag in flags.items() if flag is not None]
    if among.folder is None:
        return " ".join(conditions), []
    return " ".join([*conditions, "AND folder = ?"]), [among.folder]

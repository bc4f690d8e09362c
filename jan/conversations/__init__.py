"""Conversations: trees of stored messages, the turns of a chat in them, and answers stored while generated."""

from jan.conversations.kept_completions import StoredCompletions
from jan.conversations.service import Conversations
from jan.conversations.share_links import Shares
from jan.conversations.stored_answer import KeptAnswer
from jan.conversations.turn import Turn

__all__ = ["Conversations", "KeptAnswer", "Shares", "StoredCompletions", "Turn"]

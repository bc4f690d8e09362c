"""Conversations as they are served: turns of a chat, answers kept while they are made, titles."""

from jan.conversations.service import Conversations, Turn
from jan.conversations.stored_answer import KeptAnswer

__all__ = ["Conversations", "KeptAnswer", "Turn"]

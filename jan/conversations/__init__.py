"""Conversations as they are served: turns of a chat, answers kept while they are made, titles."""

from jan.conversations.answers import KeptAnswer
from jan.conversations.service import Conversations, Turn

__all__ = ["Conversations", "KeptAnswer", "Turn"]

"""Stores for users, keys, sessions, conversations and messages, on SQLite or MongoDB."""

from jan.storage.open import store_from_url
from jan.storage.repositories import Store

__all__ = ["Store", "store_from_url"]

"""Stores for users, keys, sessions, conversations and messages, on SQLite or MongoDB."""

from jan.storage.open import check_store, store_from_url
from jan.storage.repositories import Store

__all__ = ["Store", "check_store", "store_from_url"]

"""What the server remembers: users, keys, sessions, conversations, messages; on SQLite or MongoDB."""

from jan.storage.base import Store
from jan.storage.open import open_store

__all__ = ["Store", "open_store"]

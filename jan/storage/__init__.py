"""What the server remembers: users, keys, sessions, conversations, messages; on SQLite or MongoDB."""

from jan.storage.base import Store
from jan.storage.open import store_from_url

__all__ = ["Store", "store_from_url"]

"""Contract of the counts for quotas: what each user stores of keys, presets, conversations, messages, bytes and
shares.

A count changes together with what is counted. On SQLite both are one transaction. On MongoDB the count comes first
and is taken back if nothing was stored; a crash between the two leaves it too high, by what one request stores.
"""

from typing import Protocol

import msgspec

from jan.errors import RateLimited
from jan.schema.limits import Quota
from jan.storage.records import ApiKey, ConversationRecord

_WORDS = {
    "keys": "API keys",
    "presets": "presets",
    "conversations": "conversations",
    "messages": "messages",
    "bytes": "bytes of messages",
    "shares": "links to shared conversations",
}
_WAYS = {"keys": "Revoke some", "presets": "Delete some", "shares": "Revoke some"}


class Amounts(msgspec.Struct, frozen=True, kw_only=True):
    """Amounts that a user stores, or by which they change.

    ``keys`` are those that are neither revoked nor replaced. ``bytes`` are those of messages as JSON.
    """

    keys: int = 0
    presets: int = 0
    conversations: int = 0
    messages: int = 0
    bytes: int = 0
    shares: int = 0

    def plus(self, more: "Amounts") -> "Amounts":
        """Return the sums, none below 0."""
        names = self.__struct_fields__
        return Amounts(**{name: max(0, getattr(self, name) + getattr(more, name)) for name in names})

    def negative(self) -> "Amounts":
        """Return the opposite change."""
        return Amounts(**{name: -getattr(self, name) for name in self.__struct_fields__})


def amounts_of(conversation: ConversationRecord) -> Amounts:
    """Return what one conversation counts, with its messages."""
    return Amounts(conversations=1, messages=conversation.message_count, bytes=conversation.message_bytes)


def amounts_of_key(key: ApiKey) -> Amounts:
    """Return what one key counts: nothing once it is revoked or replaced."""
    return Amounts(keys=int(key.revoked_at is None and key.replaced_by is None))


def excess(held: Amounts, more: Amounts, quota: Quota) -> RateLimited | None:
    """Return the refusal of what exceeds a quota; None if all of it fits."""
    for name, words in _WORDS.items():
        used, added, limit = getattr(held, name), getattr(more, name), getattr(quota, name)
        if added > 0 and limit is not None and used + added > limit:
            way = _WAYS.get(name, "Delete conversations")
            return RateLimited(
                f"The quota of {words} is {limit} for this user: {used} are used, and this request adds {added}. "
                f"{way}, or ask an administrator.",
                code="quota_exceeded",
                headers={"x-should-retry": "false"},
            )
    return None


class HoldingsRepository(Protocol):
    """Counts of what each user stores. The other repositories change them, and raise RateLimited beyond the quota.

    Administrators have no quota.
    """

    async def of(self, user_id: str) -> Amounts:
        """Return what a user stores."""

    async def check(self, user_id: str, more: Amounts) -> None:
        """Raise RateLimited if a user can't store that much more now. Counts nothing."""

    async def set(self, user_id: str, held: Amounts) -> None:
        """Replace the counts of a user by new ones, such as after an import of the whole store."""

    async def forget(self, user_id: str) -> None:
        """Drop the counts of a user who is deleted with all that they store."""

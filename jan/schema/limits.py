"""Token budgets of the configuration, of users and of keys; quotas of what users store."""

from typing import Annotated

import msgspec
from msgspec import Meta

Tokens = Annotated[int, Meta(ge=1, le=2**53)]


class TokenBudget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of tokens per minute and per day, prompts and answers together. None means unlimited."""

    tokens_per_minute: Tokens | None = None
    tokens_per_day: Tokens | None = None

    def with_defaults(self, default: "TokenBudget") -> "TokenBudget":
        """Return this budget, with the default's value wherever it has none."""
        return TokenBudget(
            tokens_per_minute=self.tokens_per_minute or default.tokens_per_minute,
            tokens_per_day=self.tokens_per_day or default.tokens_per_day,
        )

    def first_excess_over(self, other: "TokenBudget") -> str | None:
        """Return the first field in which this budget allows more than the other, or None."""
        for name in self.__struct_fields__:
            own, most = getattr(self, name), getattr(other, name)
            if most is not None and (own is None or own > most):
                return name
        return None


Amount = Annotated[int, Meta(ge=0, le=2**53)]


class Quota(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The most that a user stores. None means unlimited.

    - ``keys``: API keys that are neither revoked nor replaced.
    - ``bytes``: those of messages as JSON.
    - ``shares``: links to shared conversations.
    """

    keys: Amount | None = 1000
    presets: Amount | None = 200
    conversations: Amount | None = 10_000
    messages: Amount | None = 200_000
    bytes: Amount | None = 1024**3
    shares: Amount | None = 1000


UNLIMITED = Quota(keys=None, presets=None, conversations=None, messages=None, bytes=None, shares=None)


class KeyAccount(msgspec.Struct, frozen=True, kw_only=True):
    """A key whose budget a request is charged to. ``id`` is the one that its tokens are counted under."""

    id: str
    budget: TokenBudget = TokenBudget()

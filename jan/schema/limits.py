"""How many tokens may be used: of settings, of users, of keys."""

from typing import Annotated

import msgspec
from msgspec import Meta

Tokens = Annotated[int, Meta(ge=1, le=2**53)]


class TokenBudget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tokens, of prompts and answers together, within a minute and within a day; None: any number."""

    tokens_per_minute: Tokens | None = None
    tokens_per_day: Tokens | None = None

    def over(self, default: "TokenBudget") -> "TokenBudget":
        """This budget, with the default's where it says nothing."""
        return TokenBudget(
            tokens_per_minute=self.tokens_per_minute or default.tokens_per_minute,
            tokens_per_day=self.tokens_per_day or default.tokens_per_day,
        )

    def beyond(self, other: "TokenBudget") -> str | None:
        """The first field in which this budget allows more than the other; None if there is none."""
        for name in self.__struct_fields__:
            own, most = getattr(self, name), getattr(other, name)
            if most is not None and (own is None or own > most):
                return name
        return None

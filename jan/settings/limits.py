"""Settings of rate limits and token budgets."""

import re
from types import MappingProxyType
from typing import Literal

import msgspec

from jan.schema.limits import Quota, TokenBudget

_RATE = re.compile(r"([1-9][0-9]{0,8})/(second|minute|hour|day)")
_SECONDS = MappingProxyType({"second": 1, "minute": 60, "hour": 3600, "day": 86400})
# YAML reads a bare `off` as false. Numbers are accepted here so that the error can say what is missing.
RateText = str | bool | int


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """A limit of ``limit`` requests within ``seconds``."""

    limit: int
    seconds: int


def parse_rate(text: RateText) -> Rate | None:
    """Parse a rate such as "60/minute"; None for "off". Raises ValueError for any other text."""
    if text is False or text == "off":
        return None
    found = _RATE.fullmatch(str(text))
    if found is None:
        raise ValueError(
            f"{text!r} is not a rate; allowed: a number from 1, / and second, minute, hour or day, or off."
        )
    return Rate(limit=int(found[1]), seconds=_SECONDS[found[2]])


class LimitSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of requests, of tokens and of what is stored.

    - ``authenticated``: requests of a user.
    - ``anonymous``: requests of an address without valid credentials.
    - ``inference``: requests to models, of a user or an address. These also count as requests above.
    - ``user``, ``key``: token budgets, unless an administrator or the key sets others.
    - ``quota``: the most that a user stores, except administrators.
    - ``counted_in``: auto counts in the store with MongoDB, and in memory with SQLite, where there is only one
      process.
    """

    authenticated: RateText = "1000/hour"
    anonymous: RateText = "100/hour"
    inference: RateText = "60/minute"
    user: TokenBudget = TokenBudget()
    key: TokenBudget = TokenBudget()
    quota: Quota = Quota()
    counted_in: Literal["auto", "memory", "store"] = "auto"

    def __post_init__(self) -> None:
        for name in ("authenticated", "anonymous", "inference"):
            try:
                parse_rate(getattr(self, name))
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None

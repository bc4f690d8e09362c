"""How much a caller may ask for."""

import re
from types import MappingProxyType
from typing import Literal

import msgspec

from jan.schema.limits import TokenBudget

_RATE = re.compile(r"([1-9][0-9]{0,8})/(second|minute|hour|day)")
_SECONDS = MappingProxyType({"second": 1, "minute": 60, "hour": 3600, "day": 86400})
# YAML reads the bare word off as false; a number alone is told what it lacks.
RateText = str | bool | int


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """``limit`` requests within ``seconds``."""

    limit: int
    seconds: int


def parse_rate(text: RateText) -> Rate | None:
    """What a text like "60/minute" says, None for "off"; ValueError for any other."""
    if text is False or text == "off":
        return None
    found = _RATE.fullmatch(str(text))
    if found is None:
        raise ValueError(
            f"{text!r} is no rate; allowed: a number from 1, / and second, minute, hour or day; or off"
        )
    return Rate(limit=int(found[1]), seconds=_SECONDS[found[2]])


class LimitSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``authenticated``: requests of a user; ``anonymous``: requests without credentials, or with bad ones, of
    an address; ``inference``: requests of a user or an address to a model, which count there too. ``user`` and
    ``key``: tokens, where an administrator or the key says nothing else. ``counted_in`` auto: in the store on
    MongoDB, in memory on SQLite, which one process uses."""

    authenticated: RateText = "1000/hour"
    anonymous: RateText = "100/hour"
    inference: RateText = "60/minute"
    user: TokenBudget = TokenBudget()
    key: TokenBudget = TokenBudget()
    counted_in: Literal["auto", "memory", "store"] = "auto"

    def __post_init__(self) -> None:
        for name in ("authenticated", "anonymous", "inference"):
            try:
                parse_rate(getattr(self, name))
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None

"""Which windows count for a caller, and how they stand."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import msgspec

from jan.errors import PermissionDenied
from jan.operation import LimitClass
from jan.schema.limits import TokenBudget
from jan.schema.scopes import Identity
from jan.settings.limits import LimitSettings, Rate, parse_rate
from jan.storage.accounting import Counter, Demand

Unit = Literal["requests", "tokens"]

_MINUTE, _DAY = 60, 86_400
# Whose windows are known without looking for them; a few hundred bytes each.
_CALLERS = 4096


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """At most ``limit`` of ``unit`` within ``seconds``. ``name``: of the limit, in messages, metrics and the
    usage report; ``whose``: for whom it counts, in words; ``key``: what it is counted under; ``stranger``: whether
    that is somebody of whom only an address is known."""

    name: str
    key: str
    limit: int
    seconds: int
    unit: Unit
    whose: str
    stranger: bool

    def demand(self, cost: int) -> Demand:
        """A wish for so much more of it; 0 looks."""
        return Demand(key=self.key, cost=cost, limit=self.limit, seconds=self.seconds, stranger=self.stranger)


class Standing(msgspec.Struct, frozen=True):
    """A window and what is counted in it."""

    window: Window
    counter: Counter

    @property
    def remaining(self) -> int:
        """What is left; 0 also where more than the limit was used."""
        return max(0, self.window.limit - self.counter.used)


def tightest(standings: Sequence[Standing]) -> Standing | None:
    """The one with the fewest left."""
    return min(standings, key=lambda standing: standing.remaining, default=None)


class Windows:
    """The windows of every caller, as configured."""

    def __init__(self, settings: LimitSettings) -> None:
        self._authenticated = parse_rate(settings.authenticated)
        self._anonymous = parse_rate(settings.anonymous)
        self._inference = parse_rate(settings.inference)
        self._user = settings.user
        self._key = settings.key
        #: Where a caller's request of a limit class counts.
        self.of_requests = lru_cache(_CALLERS)(self._of_requests)
        #: Where a caller's tokens count: the user's budget, and that of the key.
        self.of_tokens = lru_cache(_CALLERS)(self._of_tokens)

    def _of_requests(self, identity: Identity, limit: LimitClass) -> tuple[Window, ...]:
        rates = {"anonymous" if identity.anonymous else "authenticated": self._hourly(identity)}
        if limit == "inference":
            rates["inference"] = self._inference
        return tuple(
            Window(
                name=name,
                key=f"{name}:{identity.owner}",
                limit=rate.limit,
                seconds=rate.seconds,
                unit="requests",
                whose=_whose(identity),
                stranger=identity.anonymous,
            )
            for name, rate in rates.items()
            if rate is not None
        )

    def _hourly(self, identity: Identity) -> Rate | None:
        return self._anonymous if identity.anonymous else self._authenticated

    def _of_tokens(self, identity: Identity) -> tuple[Window, ...]:
        found = _budget("user", identity.owner, _whose(identity), identity, identity.budget.over(self._user))
        if identity.key_id is not None:
            budget = identity.key_budget.over(self._key)
            found += _budget("key", identity.key_id, "this API key", identity, budget)
        return found

    def check_key(self, identity: Identity, budget: TokenBudget) -> None:
        """Raises PermissionDenied where the caller's key would make or renew one that may use more than itself, or
        has a budget of its own: its makes would each have that budget anew."""
        if identity.key_id is None:
            return
        if identity.key_budget != TokenBudget():
            raise PermissionDenied("these credentials are a key with a token budget; such a key makes no others")
        own = identity.key_budget.over(self._key)
        if name := budget.over(self._key).beyond(own):
            raise PermissionDenied(
                f"{name}: these credentials are a key that may use {getattr(own, name)}; one that they "
                "make may use no more",
                param=name,
            )


def _whose(identity: Identity) -> str:
    return "this address" if identity.anonymous else "this user"


def _budget(kind: str, owner: str, whose: str, identity: Identity, budget: TokenBudget) -> tuple[Window, ...]:
    limits = (("minute", _MINUTE, budget.tokens_per_minute), ("day", _DAY, budget.tokens_per_day))
    return tuple(
        Window(
            name=f"{kind}_tokens_per_{word}",
            key=f"{kind}_tokens_per_{word}:{owner}",
            limit=limit,
            seconds=seconds,
            unit="tokens",
            whose=whose,
            stranger=identity.anonymous,
        )
        for word, seconds, limit in limits
        if limit is not None
    )

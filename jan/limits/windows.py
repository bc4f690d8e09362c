"""The windows that count for a caller, and their state."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import msgspec

from jan.operation import LimitClass
from jan.schema.limits import KeyAccount, TokenBudget
from jan.schema.scopes import Identity
from jan.settings.limits import LimitSettings, Rate, parse_rate
from jan.storage.accounting import Counter, Demand

Unit = Literal["requests", "tokens"]

_MINUTE, _DAY = 60, 86_400
# Callers whose windows are cached, at a few hundred bytes each.
_CACHED_CALLERS = 4096


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A limit of ``limit`` units within ``seconds``.

    - ``name``: the limit's name in messages, metrics and the usage report.
    - ``whose``: the caller it counts for, in words.
    - ``key``: the key that it is counted under.
    - ``stranger``: True if the caller is known only by address.
    """

    name: str
    key: str
    limit: int
    seconds: int
    unit: Unit
    whose: str
    stranger: bool

    def demand(self, cost: int) -> Demand:
        """Make a demand for ``cost`` more. A cost of 0 only looks."""
        return Demand(key=self.key, cost=cost, limit=self.limit, seconds=self.seconds, stranger=self.stranger)


class Standing(msgspec.Struct, frozen=True):
    """The state of a window: what is counted in it."""

    window: Window
    counter: Counter

    @property
    def remaining(self) -> int:
        """Requests or tokens that are left; 0 also if more than the limit was used."""
        return max(0, self.window.limit - self.counter.used)


def tightest(standings: Sequence[Standing]) -> Standing | None:
    """Return the state of the window with the least left; None without windows."""
    return min(standings, key=lambda standing: standing.remaining, default=None)


class Windows:
    """The windows of every caller, as configured."""

    def __init__(self, settings: LimitSettings) -> None:
        self._authenticated = parse_rate(settings.authenticated)
        self._anonymous = parse_rate(settings.anonymous)
        self._inference = parse_rate(settings.inference)
        self._user = settings.user
        self._key = settings.key
        #: The windows that count a caller's requests of a limit class.
        self.of_requests = lru_cache(_CACHED_CALLERS)(self._of_requests)
        #: The windows that count a caller's tokens: the user's budget and the key's.
        self.of_tokens = lru_cache(_CACHED_CALLERS)(self._of_tokens)

    def _of_requests(self, identity: Identity, limit: LimitClass) -> tuple[Window, ...]:
        rates = {"anonymous" if identity.anonymous else "authenticated": self._general(identity)}
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

    def _general(self, identity: Identity) -> Rate | None:
        """Return the limit that counts requests of all classes; None if it is off."""
        return self._anonymous if identity.anonymous else self._authenticated

    def _of_tokens(self, identity: Identity) -> tuple[Window, ...]:
        found = _budget(
            "user", identity.owner, _whose(identity), identity, identity.budget.with_defaults(self._user)
        )
        accounts = identity.accounts or ((KeyAccount(id=identity.key_id),) if identity.key_id else ())
        for place, account in enumerate(accounts):
            kind, whose = ("maker", "the key that made this one") if place else ("key", "this API key")
            found += _budget(kind, account.id, whose, identity, account.budget.with_defaults(self._key))
        return found

    def excess_of_key(self, identity: Identity, budget: TokenBudget) -> str | None:
        """Return the first field in which a key with this budget may use more tokens than the caller's own key.

        None if it may not, or if the caller came without a key.
        """
        if not identity.accounts:
            return None
        own = identity.accounts[0].budget.with_defaults(self._key)
        return budget.with_defaults(self._key).first_excess_over(own)


def _whose(identity: Identity) -> str:
    return "this address" if identity.anonymous else "this user"


def _budget(kind: str, owner: str, whose: str, identity: Identity, budget: TokenBudget) -> tuple[Window, ...]:
    limits = (("minute", _MINUTE, budget.tokens_per_minute), ("day", _DAY, budget.tokens_per_day))
    return tuple(
        Window(
            name=f"{kind}_tokens_per_{word}",
            key=f"{'key' if kind == 'maker' else kind}_tokens_per_{word}:{owner}",
            limit=limit,
            seconds=seconds,
            unit="tokens",
            whose=whose,
            stranger=identity.anonymous,
        )
        for word, seconds, limit in limits
        if limit is not None
    )

"""The plan of a measurement: its extent and its contestants."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from jan.bench.bench_error import BenchError
from jan.bench.results import Result, Row
from jan.bench.rounds import Comparison, Measure, alternate

T = TypeVar("T")


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The extent of a measurement, and its contestants.

    - ``seconds``: about how long our server is measured at a time.
    - ``quick``: just enough to see that everything works. Its numbers mean nothing.
    - ``cases``: only these, if any are named.
    - ``peers``: measure other servers. ``chosen_peers``: beginnings of their names; default: all.
    - ``against``: another checkout to measure too.
    - ``folder``: temporary files. ``cache``: environments of the peers.
    - ``apis``: compare these APIs of our server, in place of servers.
    - ``say``: gets a line about each step.
    """

    folder: Path
    cache: Path
    say: Callable[[str], None]
    rounds: int = 5
    seconds: float = 1.0
    quick: bool = False
    peers: bool = True
    chosen_peers: tuple[str, ...] = ()
    against: Path | None = None
    cases: tuple[str, ...] = ()
    apis: tuple[str, ...] = ()

    @property
    def warm_up(self) -> bool:
        """True if a first round is measured but not counted."""
        return not self.quick

    def sized(self, per_second: int, quick: int) -> int:
        """Return how many things to do in about ``seconds``, if ``per_second`` of them take a second."""
        return quick if self.quick else max(quick, int(per_second * self.seconds))

    def wants_peer(self, name: str) -> bool:
        """Return True if a peer of this name is to be measured."""
        beginnings = tuple(peer.lower() for peer in self.chosen_peers) or ("",)
        return self.peers and name.lower().startswith(beginnings)

    def chosen(self, cases: tuple[str, ...]) -> tuple[str, ...]:
        """Return the cases to measure. Raises BenchError if one was asked for that does not exist."""
        unknown = [case for case in self.cases if case not in cases]
        if unknown:
            raise BenchError(f"There is no case '{unknown[0]}'; available: {', '.join(cases)}.")
        return self.cases or cases


class Scenario(Protocol):
    """A module that measures something under one name."""

    def run(self, plan: Plan) -> Result:
        """Measure all cases of the plan. Raises BenchError if our own server cannot be measured."""


class Stage:
    """The servers of a scenario: started one after the other, all stopped at its end."""

    def __init__(self, stack: ExitStack, plan: Plan) -> None:
        self._stack = stack
        self._plan = plan
        #: Why contestants were left out.
        self.missing: dict[str, str] = {}

    def enter(self, context: AbstractContextManager[T]) -> T:
        """Keep something running until the end of the scenario."""
        return self._stack.enter_context(context)

    def try_peer(self, name: str, make: Callable[[], AbstractContextManager[T]]) -> T | None:
        """Keep a peer running, if it is wanted and can be started; else None, and ``missing`` says why."""
        if not self._plan.wants_peer(name):
            self.missing[name] = "It was not asked for."
            return None
        self._plan.say(f"{name}: installing if need be, starting")
        try:
            return self._stack.enter_context(make())
        except BenchError as error:
            self.missing[name] = f"Not available: {error.message}"
            self._plan.say(f"{name}: {self.missing[name]}")
            return None

    def alternate(self, case: str, contestants: Mapping[str, Measure], comparison: Comparison) -> list[Row]:
        """Measure a case in rounds and return its rows. A contestant that fails is missing from then on."""
        wanted = {name: measure for name, measure in contestants.items() if name not in self.missing}
        self._plan.say(case)
        rows, missing = alternate(case, wanted, comparison, rounds=self._plan.rounds, warm_up=self._plan.warm_up)
        self.missing.update(missing)
        return rows

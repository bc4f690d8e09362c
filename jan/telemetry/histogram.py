"""A histogram that one thread writes: prometheus_client's own takes a lock for each of its parts, which is felt
where every token is counted."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate


class Histogram:
    """How many values are at most each bound, and their sum; beyond the last bound there is one part more."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """One more."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """As Prometheus wants them: upper bound, and how many were at most that."""
        names = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        return list(zip(names, map(float, accumulate(self._counts)), strict=True))

    def copy(self) -> "Histogram":
        """The same counts, which go their own way from now on."""
        made = Histogram(self._bounds)
        made._counts, made.total = list(self._counts), self.total
        return made

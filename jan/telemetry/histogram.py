"""A histogram for a single writing thread. prometheus_client's takes a lock for each part, too slow for every
token."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate


class Histogram:
    """Counts of values up to each bound, and their sum. Values beyond the last bound have a count of their own."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one more value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Return upper bounds and cumulative counts in Prometheus' form."""
        names = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        return list(zip(names, map(float, accumulate(self._counts)), strict=True))

    def copy(self) -> "Histogram":
        """Return an independent copy of the counts."""
        made = Histogram(self._bounds)
        made.set(self._counts, self.total)
        return made

    def plus(self, other: "Histogram") -> "Histogram":
        """Return the counts of both, which have the same bounds."""
        made = Histogram(self._bounds)
        made.set(
            [one + two for one, two in zip(self._counts, other._counts, strict=True)], self.total + other.total
        )
        return made

    @property
    def counts(self) -> Sequence[int]:
        """The values up to each bound, and those beyond the last one; not cumulative."""
        return self._counts

    def set(self, counts: Sequence[int], total: float) -> None:
        """Take over counts from elsewhere, such as another process, and the sum of the values."""
        self._counts, self.total = list(counts), total

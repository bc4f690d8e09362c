"""Separates the cost of a request from the cost of its tokens, by answers of two lengths."""

from collections.abc import Mapping
from statistics import linear_regression

import msgspec


class Line(msgspec.Struct, frozen=True):
    """CPU seconds of a request: ``set_up`` for the request itself with its first and last frames, ``token`` for
    each token of its answer."""

    set_up: float
    token: float

    @classmethod
    def through(cls, costs: Mapping[int, float]) -> "Line":
        """Fit CPU seconds a request by the tokens of its answer, of at least two lengths (least squares)."""
        slope, intercept = linear_regression(list(costs), list(costs.values()))
        return cls(set_up=intercept, token=slope)

"""The contract of every engine, checked for every backend that runs here."""

from collections.abc import Callable

import pytest

from jan.engine.base import Backend, Sampling
from jan.testing import BackendContract


class TestContract(BackendContract):
    """Each of our backends, with the tests that authors of others run."""

    # For the real model: its end tokens are never taken.
    endless = {"sampling": Sampling(logit_bias={0: -100.0, 2: -100.0})}  # noqa: RUF012  # never changed

    @pytest.fixture(autouse=True)
    def _made(self, make_backend: Callable[[], Backend]) -> None:
        self._make = make_backend

    def make(self) -> Backend:
        """Make the backend whose turn it is."""
        return self._make()

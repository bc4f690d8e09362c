"""The contract of every engine, checked for every backend that runs here, on a thread and in a process."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from jan.engine.base import Backend, Engine, Sampling
from jan.engine.isolation.engine_messages import BackendPlan
from jan.engine.isolation.process_engine import ProcessEngine
from jan.engine.rules import EngineRules
from jan.testing import BackendContract
from jan.testing.engines import run_engine

# For the real model: its end tokens are never taken.
ENDLESS = {"sampling": Sampling(logit_bias={0: -100.0, 2: -100.0})}


class TestContract(BackendContract):
    """Each of our backends, with the tests that authors of others run."""

    endless = ENDLESS

    @pytest.fixture(autouse=True)
    def _made(self, make_backend: Callable[[], Backend]) -> None:
        self._make = make_backend

    def make(self) -> Backend:
        """Make the backend whose turn it is."""
        return self._make()


@pytest.mark.slow
class TestIsolatedContract(BackendContract):
    """The same for backends in a process of their own."""

    endless = ENDLESS

    @pytest.fixture(autouse=True)
    def _planned(self, backend_plan: BackendPlan) -> None:
        self._plan = backend_plan

    def run(self, scenario: Callable[[Engine], Awaitable[Any]], **rules: Any) -> None:
        """Run a scenario on an engine whose backend is in a process."""
        made = EngineRules(**{"max_waiting": 64, **rules})
        run_engine(lambda: ProcessEngine("test", self._plan, rules=made), scenario)

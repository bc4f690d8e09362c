"""ThreadedEngine: an engine that runs its backend on a dedicated thread of this process."""

from collections.abc import Callable

from jan.engine.base import Backend
from jan.engine.rules import EngineRules
from jan.engine.runtime.host import Host, HostEvents
from jan.engine.runtime.hosted_engine import HostedEngine
from jan.engine.runtime.thread import EngineThread


class ThreadedEngine(HostedEngine):
    """An Engine that runs a Backend on a thread of its own.

    ``make_backend`` is called on the thread, also for each restart. The other arguments are HostedEngine's.
    """

    # Most stalls are a machine with too much to do, and a second copy of the model would make that worse.
    on_failure = "wait"

    def __init__(
        self,
        name: str,
        make_backend: Callable[[], Backend],
        rules: EngineRules | None = None,
        on_exit: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(name, rules, on_exit)
        self._make_backend = make_backend

    def _make_host(self, events: HostEvents) -> Host:
        return EngineThread(self._name, self._make_backend, self._rules, events)

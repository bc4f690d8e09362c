"""ProcessEngine: an engine that runs its backend in a process of its own."""

import os
from collections.abc import Callable
from pathlib import Path

from jan.engine.base import OnProgress
from jan.engine.isolation.engine_listener import EngineListener
from jan.engine.isolation.engine_messages import BackendPlan, EngineAddress, ProcessPlan
from jan.engine.isolation.process_host import ProcessHost
from jan.engine.rules import EngineRules
from jan.engine.runtime.host import Host, HostEvents
from jan.engine.runtime.hosted_engine import HostedEngine


class ProcessEngine(HostedEngine):
    """An Engine whose backend runs in a process, which is killed when it hangs.

    Args:
        name: the model's id.
        backend: how the process makes the backend.
        folder: where its socket is made, with mode 0700; None: a temporary one.
        admit: called on a thread before each start of a process. Raises ConfigurationError for a model that must
            not be loaded.
        rules: limits of the queue, and what happens after a failure.
        on_exit: called if the process fails and the rules say ``exit``.
    """

    # It is safe: a process that hangs is ended, and its memory is free.
    on_failure = "restart"

    def __init__(
        self,
        name: str,
        backend: BackendPlan,
        folder: Path | None = None,
        admit: Callable[[], object] = lambda: None,
        rules: EngineRules | None = None,
        on_exit: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(name, rules, on_exit)
        self._backend = backend
        self._folder = folder
        self._admit = admit
        self._listener: EngineListener | None = None

    @property
    def pid(self) -> int | None:
        """The id of the process, None while there is none."""
        return self._host.pid if isinstance(self._host, ProcessHost) else None

    @property
    def address(self) -> EngineAddress | None:
        """Where event loops of other processes of the server find this one; None while it is closed.

        It stays the same when the process is started anew, and it holds a secret.
        """
        return None if self._listener is None else self._listener.address

    def probe(self) -> None:
        """Find out if the process hangs, which nobody else may have asked for anything: then it is ended."""
        if isinstance(self._host, ProcessHost):
            self._host.probe()

    async def start(self, progress: OnProgress) -> None:
        """Start the process and load the model in it; see ``Engine.start``."""
        try:
            await super().start(progress)
        except BaseException:
            self._stop_listening()
            raise

    async def close(self) -> None:
        """Fail all jobs, and end the process."""
        await super().close()
        self._stop_listening()

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _make_host(self, events: HostEvents) -> Host:
        # Of all processes, one after another, so that its address stays the same.
        listener = self._listener = self._listener or EngineListener(self._folder)
        plan = ProcessPlan(
            name=self._name,
            backend=self._backend,
            rules=self._rules,
            nonce=listener.address.nonce,
            listener=listener.fileno(),
            parent=os.getpid(),
        )
        return ProcessHost(plan, listener.address, self._admit, events)

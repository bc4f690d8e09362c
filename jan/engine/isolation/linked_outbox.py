"""Sends the events of a step to the connections of its jobs, from the engine's thread, without waiting."""

from typing import cast

from jan.engine.base import Event, PreparedRequest
from jan.engine.isolation.client_link import ClientLink, LinkedJob
from jan.engine.isolation.engine_messages import COUNTED, EngineState
from jan.engine.runtime.job import Job
from jan.engine.runtime.mailbox import Outbox
from jan.engine.runtime.thread import EngineThread
from jan.engine.stats import CacheUse


class LinkedOutbox(Outbox):
    """The outbox of an engine whose jobs belong to connections. ``links``: all of them."""

    def __init__(self) -> None:
        super().__init__(lambda _batches: None)
        self.links: tuple[ClientLink, ...] = ()
        self._touched: set[ClientLink] = set()
        self._thread: EngineThread | None = None
        self._cache: CacheUse | None = None
        self._told: tuple[int, ...] = ()

    def begin(self, thread: EngineThread, cache: CacheUse | None) -> None:
        """Tell from now on how the thread and its cache are doing."""
        self._thread, self._cache = thread, cache

    def put(self, job: Job, item: Event | PreparedRequest) -> None:
        """Keep an event of a job until the next delivery."""
        linked = cast(LinkedJob, job)
        linked.link.put(linked.number, item)
        self._touched.add(linked.link)

    def clear(self) -> None:
        """Drop the events that were not delivered yet."""
        for link in self._touched:
            link.clear()
        self._touched.clear()

    def deliver(self) -> None:
        """Send what was put here, and the counters if jobs have begun or ended."""
        if self._thread is None:
            return
        stats = self._thread.stats
        now = (stats.running, stats.waiting, stats.finished, stats.cancelled, stats.failed, stats.overloaded)
        state, links = None, self._touched
        if now != self._told:
            self._told, state, links = now, self.state(), {*self.links, *links}
        for link in links:
            link.deliver(state)
        self._touched.clear()

    def tell(self) -> bool:
        """Tell all connections how the engine is doing, from the event loop. Returns True while it is busy."""
        if self._thread is None:
            return False
        state = self.state()
        for link in self.links:
            link.tell(state)
        return state.busy_since is not None

    def state(self) -> EngineState:
        """Return how the engine is doing. Any thread may call it."""
        thread = self._thread
        assert thread is not None  # a connection comes when the model is loaded
        stats = thread.stats
        return EngineState(
            heard=0,
            busy_since=thread.busy_since(),
            cache_used=self._cache.used if self._cache is not None else 0,
            counts=[getattr(stats, name) for name in COUNTED],
            waits=list(stats.waits.counts),
            waited=stats.waits.total,
        )

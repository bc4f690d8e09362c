"""The work of a page by Chromium's trace, in CPU time: other programs on the machine do not add to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Page

_CATEGORIES = ["toplevel", "devtools.timeline", "disabled-by-default-devtools.timeline", "__metadata"]


class Work:
    """The tasks of the main threads of pages. ``tasks``: CPU milliseconds of each, the longest first."""

    def __init__(self) -> None:
        self.tasks: list[float] = []

    @property
    def longest(self) -> float:
        """CPU milliseconds of the longest task."""
        return self.tasks[0] if self.tasks else 0.0


@contextmanager
def traced(page: Page) -> Iterator[Work]:
    """Trace a page for as long as the block takes."""
    session = page.context.new_cdp_session(page)
    work, events, ends = Work(), list[dict[str, Any]](), list[Any]()
    session.on("Tracing.dataCollected", lambda told: events.extend(told["value"]))
    session.on("Tracing.tracingComplete", lambda told: ends.append(told))
    config = {"includedCategories": _CATEGORIES}
    session.send("Tracing.start", {"transferMode": "ReportEvents", "traceConfig": config})
    try:
        yield work
    finally:
        session.send("Tracing.end")
        while not ends:
            page.evaluate("() => 0")  # its answer comes after what was sent before
        session.detach()
    work.tasks = sorted(_tasks(events), reverse=True)
    assert work.tasks


def _tasks(events: list[dict[str, Any]]) -> list[float]:
    """Return the CPU milliseconds of every task of a main thread."""
    threads = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    return [
        event["tdur"] / 1000
        for event in events
        if event["name"] == "RunTask" and (event["pid"], event["tid"]) in threads and "tdur" in event
    ]


class Memory:
    """The memory of a page after its garbage was collected."""

    def __init__(self, page: Page) -> None:
        self._session = page.context.new_cdp_session(page)
        self._session.send("Performance.enable")

    def take(self) -> tuple[int, int, int]:
        """Return bytes of its heap, nodes of its documents and listeners of events."""
        self._session.send("HeapProfiler.collectGarbage")
        found = self._session.send("Performance.getMetrics")["metrics"]
        by_name = {metric["name"]: int(metric["value"]) for metric in found}
        return by_name["JSHeapUsedSize"], by_name["Nodes"], by_name["JSEventListeners"]

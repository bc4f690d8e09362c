"""Work that outlives the request that began it."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar

T = TypeVar("T")

# Work on fewer objects than this takes about a millisecond.
_FEW = 64


def inherit_context(context: Context) -> None:
    """Take over the values of a context, for a thread that begins."""
    for variable, value in context.items():
        variable.set(value)


async def apart(many: int, work: Callable[[], T]) -> T:
    """Return the result of work on ``many`` objects, made on a thread if that would block the event loop."""
    return work() if many <= _FEW else await asyncio.to_thread(work)


class Tasks:
    """Tasks that outlive the request that began them, so that a client who disconnects cuts nothing short."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Begin the work and return its task."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self, seconds: float) -> None:
        """Wait for the tasks to end. After ``seconds`` cancel those that remain."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

"""Work that outlives the request that began it."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar

import structlog

log = structlog.get_logger(__name__)

T = TypeVar("T")

# Work on fewer objects than this takes about a millisecond.
_FEW = 64
# How long work may take to end after each of the cancellations that it gets.
_END_SECONDS = 5.0
_CANCELLATIONS = 2


def inherit_context(context: Context) -> None:
    """Take over the values of a context, for a thread that begins."""
    for variable, value in context.items():
        variable.set(value)


async def apart(many: int, work: Callable[[], T]) -> T:
    """Return the result of work on ``many`` objects, made on a thread if that would block the event loop."""
    return work() if many <= _FEW else await asyncio.to_thread(work)


async def end(*tasks: "asyncio.Future[Any] | None") -> None:
    """Cancel tasks and wait until they have ended.

    A library may swallow a cancellation, so a second one follows. Tasks that go on even then are left behind, and
    the log names where they are.
    """
    left = {task for task in tasks if task is not None and not task.done()}
    for _ in range(_CANCELLATIONS):
        for task in left:
            task.cancel()
        if left:
            _, left = await asyncio.wait(left, timeout=_END_SECONDS)
    for task in left:
        log.error("work does not end", work=described(task))


def described(task: "asyncio.Future[Any]") -> str:
    """Return where a task waits, for the log: the names of its coroutines and the line of the innermost one."""
    names, place = [], ""
    waits: Any = task.get_coro() if isinstance(task, asyncio.Task) else None
    while (frame := getattr(waits, "cr_frame", None)) is not None:
        names.append(waits.__qualname__)
        place = f" ({frame.f_code.co_filename}:{frame.f_lineno})"
        waits = waits.cr_await
    return f"{' > '.join(names)}{place}" if names else repr(task)


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
        """Wait for the tasks to end. After ``seconds`` cancel those that remain, as ``end`` does."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=seconds)
        await end(*late)
        for task in late:
            if task.done() and not task.cancelled():
                task.exception()  # whoever waits for the task has it

"""Takes deleted text out of the files: out of the database, and out of the log of writes before it.

SQLite's ``secure_delete`` overwrites deleted text in the database. The -wal file still has it, in older states of
pages, until a checkpoint empties that file. When SQLite rearranges a page, copies of rows may stay in its unused
part, where ``secure_delete`` does not find them after a later deletion; only VACUUM, which writes all pages anew,
removes those. So it is done at the end of a process that deleted something, if the database is small.
"""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import structlog

from jan.tasks import end

log = structlog.get_logger(__name__)

T = TypeVar("T")

#: Deletions within this time share one checkpoint.
_GATHER_SECONDS = 0.5
# Writers wait as long for readers of the -wal file. Then the checkpoint is tried again.
_PATIENCE_MILLISECONDS = 100
# Writing a larger database anew takes seconds, in which nobody else can write.
_SMALL_BYTES = 64 * 1024 * 1024

OnWriter = Callable[[Callable[[sqlite3.Connection], T]], Awaitable[T]]


class Eraser:
    """Empties the -wal file soon after deletions. ``run`` runs a function of the connection on the writer's
    thread."""

    def __init__(self, run: "OnWriter[bool]") -> None:
        self._run = run
        self._task: asyncio.Task[None] | None = None
        #: True once something was deleted in this process.
        self.deleted = False

    def note(self) -> None:
        """Note that a transaction deleted something and is committed."""
        self.deleted = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._empty())

    async def _empty(self) -> None:
        emptied = False
        while not emptied:
            await asyncio.sleep(_GATHER_SECONDS)
            emptied = await self._run(empty_log)

    async def stop(self) -> None:
        """Stop trying. The end of the process empties the file."""
        await end(self._task)


def empty_log(connection: sqlite3.Connection) -> bool:
    """Copy all pages of the -wal file to the database and cut the file to nothing; False if others read it now."""
    try:
        [before] = connection.execute("PRAGMA busy_timeout").fetchone()
        connection.execute(f"PRAGMA busy_timeout = {_PATIENCE_MILLISECONDS}")
        try:
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            connection.execute(f"PRAGMA busy_timeout = {before}")
    except sqlite3.Error:
        return False
    return not busy


def rewrite_if_small(connection: sqlite3.Connection, path: Path) -> None:
    """Write all pages of a small database anew, so that nothing deleted is left in it."""
    try:
        if path.stat().st_size > _SMALL_BYTES:
            log.warning("deleted text may be left in the database; see docs/deployment.md, 'What is deleted'")
            return
        connection.execute("VACUUM")
    except (sqlite3.Error, OSError) as error:  # others use it, or the disk is full
        log.warning("deleted text may be left in the database", reason=str(error))
    empty_log(connection)

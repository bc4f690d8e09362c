"""Threads and transactions: one thread makes every write of this process, in groups.

Writes that arrive while a group is being committed form the next group, so one fsync serves all of them. No write
is acknowledged before its group is committed.
"""

import asyncio
import queue
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

from jan.errors import JanError, Unavailable, retry_headers
from jan.storage.sqlite.erasure import Eraser, empty_log, rewrite_if_small
from jan.storage.sqlite.failures import translate, translate_opening
from jan.storage.sqlite.files import PrivateFile
from jan.storage.sqlite.migrations import migrate
from jan.tasks import inherit_context

T = TypeVar("T")

Work = Callable[[sqlite3.Connection], T]
_READERS = 2
_LARGEST_GROUP = 256


class _Transaction(NamedTuple, Generic[T]):
    work: Work[T]
    done: asyncio.Future[T]
    erases: bool


class Database:
    """One SQLite file. Writes and reads are functions of a connection and run on the database's own threads."""

    def __init__(self, path: str, timeout: float) -> None:
        self._file = PrivateFile(path)
        self._timeout = timeout
        self._writer: ThreadPoolExecutor | None = None
        self._readers: ThreadPoolExecutor | None = None
        self._write_connection: sqlite3.Connection | None = None
        self._read_connections: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._waiting: list[_Transaction[Any]] = []
        self._draining: asyncio.Task[None] | None = None
        self._eraser = Eraser(self._on_writer)

    async def open(self) -> None:
        """Open the file, bring its schema up to date and start the threads."""
        if self._writer is not None:
            return
        await asyncio.to_thread(self._connect)
        # They inherit the context, so that what they log belongs to the server that opened the store.
        inherit = partial(inherit_context, copy_context())
        self._writer = ThreadPoolExecutor(1, "jan-store-writer", inherit)
        self._readers = ThreadPoolExecutor(_READERS, "jan-store-reader", inherit)

    async def close(self) -> None:
        """Commit pending writes, stop the threads and close the file."""
        writer, self._writer = self._writer, None
        readers, self._readers = self._readers, None
        if self._draining is not None:
            await self._draining
        await self._eraser.stop()
        for threads in (writer, readers):
            if threads is not None:
                await asyncio.to_thread(threads.shutdown)
        await asyncio.to_thread(self._disconnect)

    async def write(self, work: Work[T], *, erases: bool = False) -> T:
        """Run ``work`` in a write transaction and return its result once that is durable.

        A JanError that ``work`` raises undoes the changes of this ``work`` only. What is deleted or replaced by
        one that ``erases`` is in no file a second or two later.
        """
        loop = asyncio.get_running_loop()
        if self._writer is None:
            raise _closed()
        done: asyncio.Future[T] = loop.create_future()
        self._waiting.append(_Transaction(work, done, erases))
        if self._draining is None or self._draining.done():
            self._draining = loop.create_task(self._drain(self._writer))
        return await done

    async def purge(self, table: str, where: str, value: str | int) -> int:
        """Delete the rows for which the condition holds; return their number."""

        def work(db: sqlite3.Connection) -> int:
            return db.execute(f"DELETE FROM {table} WHERE {where}", (value,)).rowcount

        one = f"SELECT 1 FROM {table} WHERE {where} LIMIT 1"
        found = await self.read(lambda db: db.execute(one, (value,)).fetchone())
        return await self.write(work, erases=True) if found else 0

    async def read(self, work: Work[T]) -> T:
        """Run ``work`` on a snapshot of the committed data and return its result."""
        if self._readers is None:
            raise _closed()
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    async def _drain(self, writer: ThreadPoolExecutor) -> None:
        while self._waiting:
            group, self._waiting = self._waiting[:_LARGEST_GROUP], self._waiting[_LARGEST_GROUP:]
            await self._run(writer, [job for job in group if not job.done.done()])

    async def _run(self, writer: ThreadPoolExecutor, group: list[_Transaction[Any]]) -> None:
        works = [job.work for job in group]
        committed = asyncio.get_running_loop().run_in_executor(writer, self._commit, works)
        await asyncio.wait([committed])
        error = committed.exception()
        if error is not None and len(group) > 1 and not isinstance(error, JanError):
            for job in group:  # one of them failed: run each alone, so that the others succeed
                await self._run(writer, [job])
            return
        outcomes = [error] * len(group) if error is not None else committed.result()
        for job, outcome in zip(group, outcomes, strict=True):
            _settle(job.done, outcome)
        if error is None and any(job.erases for job in group):
            self._eraser.note()

    async def _on_writer(self, work: Work[bool]) -> bool:
        """Run ``work`` on the writer's thread, outside any transaction."""
        if self._writer is None or (connection := self._write_connection) is None:
            return True
        return await asyncio.get_running_loop().run_in_executor(self._writer, work, connection)

    def _commit(self, works: list[Work[Any]]) -> list[Any]:
        """Run a group in one transaction. Return for each its result or the JanError that it raised."""
        connection = self._write_connection
        if connection is None:
            raise _closed()
        self._file.check()
        try:
            connection.execute("BEGIN IMMEDIATE")
            outcomes = [_attempt(connection, work) for work in works]
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise translate(error) from error
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        return outcomes

    def _read(self, work: Work[T]) -> T:
        connection = self._read_connections.get()
        try:
            self._file.check()
            return work(connection)
        except sqlite3.Error as error:
            raise translate(error) from error
        finally:
            self._read_connections.put(connection)

    def _connect(self) -> None:
        self._file.prepare()
        try:
            self._write_connection = self._new_connection()
            migrate(self._write_connection, self._file.path)
            empty_log(self._write_connection)  # a process that was killed may have left deleted text there
            for _ in range(_READERS):
                reader = self._new_connection()
                self._read_connections.put(reader)
                reader.execute("PRAGMA query_only = ON")
        except sqlite3.Error as error:
            self._disconnect()
            raise translate_opening(error, self._file.path) from error
        except JanError:
            self._disconnect()
            raise

    def _new_connection(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._file.path, timeout=self._timeout, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA secure_delete = ON")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _disconnect(self) -> None:
        while not self._read_connections.empty():
            self._read_connections.get().close()
        if self._write_connection is not None:
            if self._eraser.deleted:
                rewrite_if_small(self._write_connection, self._file.path)
            self._write_connection.close()  # the last connection to close folds the -wal file into the database
            self._write_connection = None


def _attempt(connection: sqlite3.Connection, work: Work[T]) -> T | JanError:
    connection.execute("SAVEPOINT work")
    try:
        outcome: T | JanError = work(connection)
    except JanError as error:
        outcome = error
    except sqlite3.IntegrityError as error:
        outcome = translate(error)
    if isinstance(outcome, JanError):
        connection.execute("ROLLBACK TO work")
    connection.execute("RELEASE work")
    return outcome


def _settle(done: asyncio.Future[Any], outcome: Any) -> None:
    if done.done():
        return  # the waiting caller was cancelled
    if isinstance(outcome, BaseException):
        done.set_exception(outcome)
    else:
        done.set_result(outcome)


def _closed() -> Unavailable:
    return Unavailable("The store is not open.", code="storage_unavailable", headers=retry_headers(2000))

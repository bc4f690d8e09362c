"""Keeps the store open and tidy: opens it at start-up and after an outage, makes the first administrator, marks
answers whose server died, and forgets what has expired."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import msgspec
import structlog

from jan.conversations.expiry import expire
from jan.conversations.imports import GIVEN_UP_AFTER, tidy, tidy_all
from jan.conversations.search_indexing import SearchIndexing
from jan.conversations.stored_answer import ABANDONED_AFTER
from jan.errors import ConfigurationError, Conflict, JanError, Unavailable
from jan.idempotency.ids import IdSource
from jan.people.assembly import People
from jan.people.keys import CreatedKey, parse_scopes
from jan.schema.scopes import ADMIN_SCOPES
from jan.storage.records import User, milliseconds, now
from jan.storage.repositories import Store
from jan.tasks import end

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 2.0
# Often, because a server that restarts at once finds the answers that it left behind too young to be marked.
_HOUSEKEEPING_SECONDS = 60.0
_KEEP_ENDED_SESSIONS = timedelta(days=7)
# How long a request that is sent again with the same Idempotency-Key gets the same answer.
_KEEP_ANSWERS = timedelta(hours=24)
#: E-mail address of the administrator that is made in a store without users.
FIRST_ADMIN = "admin@localhost"


class StoreKeeper:
    """Opens the store and keeps it in order. While the store is away, the server runs without it, and the keeper
    tries again every few seconds.

    ``show_late_key`` is called with the secret of the first administrator's key if that is made after ``open``.
    ``keep_responses``: how long responses in no named conversation are stored; None: for ever.
    ``with_link``: make a link too that signs the administrator in. ``tidies``: False if another process of this
    server keeps the store in order; this one only opens it then.
    """

    def __init__(
        self,
        store: Store,
        people: People,
        *,
        create_admin: bool,
        show_late_key: Callable[[str], None],
        with_link: bool = False,
        keep_responses: timedelta | None = None,
        tidies: bool = True,
    ) -> None:
        self._store = store
        self._people = people
        self._create_admin = create_admin
        self._with_link = with_link
        self._show_late_key = show_late_key
        self._keep_responses = keep_responses
        self._tidies = tidies
        self._task: asyncio.Task[None] | None = None
        self._made: CreatedKey | None = None
        #: The secret of the key that a first start made; None at any other start.
        self.admin_key: str | None = None
        #: The code of the link that a first start made.
        self.start_code: str | None = None
        self._orphans_removed = False
        self._indexing = SearchIndexing(store)

    async def open(self) -> None:
        """Open the store, or begin to try; raises ConfigurationError if it will never be usable as configured."""
        opened = True
        try:
            await self._open_once()
        except Unavailable as error:
            log.warning("store unreachable; serving requests that do not need it", reason=error.message)
            opened = False
        if self._tidies:
            self._indexing.start()
        self._task = asyncio.create_task(self._keep(opened))
        self._task.add_done_callback(_log_failure)

    async def _open_once(self) -> None:
        await self._store.open()
        if await self._store.archive.unfinished():
            raise ConfigurationError(
                "storage.url: An import into this store was interrupted, and only a part of it is there. Run"
                " `jan store import` again with the same file, or choose an empty store."
            )
        if not self._tidies:
            return
        if self._create_admin and self.admin_key is None:
            self.admin_key = await self._first_admin()
        await self._housekeep()

    async def _keep(self, opened: bool) -> None:
        # What a start need not wait for is done at once after it.
        pause = 0.0 if opened else _RETRY_SECONDS
        while self._tidies or not opened:
            await asyncio.sleep(pause)
            pause = _HOUSEKEEPING_SECONDS
            try:
                if opened:
                    await (self._housekeep() if self._orphans_removed else self._remove_orphans())
                    continue
                await self._reopen()
                opened = True
            except Unavailable:
                pause = _HOUSEKEEPING_SECONDS if opened else _RETRY_SECONDS
            except (JanError, msgspec.MsgspecError) as error:
                # At start-up this ends the server; now somebody may repair the store while the server runs.
                log.error("store can't be used", reason=str(error))

    async def _reopen(self) -> None:
        known = self.admin_key
        try:
            await self._open_once()
        finally:  # even if only the housekeeping failed, because the key is never shown again
            if self.admin_key is not None and known is None:
                self._show_late_key(self.admin_key)
        log.info("store reachable again")

    async def _housekeep(self) -> None:
        """Mark answers whose server died as partial, forget what expired long ago, and finish deletions."""
        ended = await self._store.messages.end_stale_streams(now() - ABANDONED_AFTER)
        purged = await self._store.sessions.purge(now() - _KEEP_ENDED_SESSIONS)
        forgotten = await self._store.idempotent_answers.purge(now() - _KEEP_ANSWERS)
        await self._store.counters.purge(milliseconds(now()))
        ended_shares = await self._store.shares.purge(now())
        await self._people.audit.tidy()
        given_up = await tidy(self._store, now() - GIVEN_UP_AFTER)
        deleted = await self._people.deletion.finish()
        kept = self._keep_responses
        expired = 0 if kept is None else await expire(self._store, now() - kept)
        if ended or purged or forgotten or given_up or deleted or expired or ended_shares:
            log.info(
                "store tidied",
                interrupted_answers=ended,
                old_sessions=purged,
                old_idempotency_keys=forgotten,
                interrupted_imports=given_up,
                deleted_users=deleted,
                expired_responses=expired,
                ended_shares=ended_shares,
            )

    async def _remove_orphans(self) -> None:
        """Remove messages without a conversation, once in each run of a server."""
        if removed := await tidy_all(self._store):
            log.warning("messages without a conversation removed", messages=removed)
        self._orphans_removed = True

    async def _first_admin(self) -> str | None:
        """Make an administrator with a key if there are no users yet; returns the key's secret."""
        if found := (await self._people.users.page(limit=1)).items:
            # An earlier attempt made the administrator, and failed only after that.
            made = self._made
            return made.secret if made is not None and made.record.user_id == found[0].id else None
        admin = User(email=FIRST_ADMIN, name="Administrator", role="admin")
        # The key comes first: an administrator without one, made just before an outage, would never get one.
        self._made = key = await self._people.keys.create(admin.id, "First key", parse_scopes(ADMIN_SCOPES))
        try:
            await self._people.users.add(admin, IdSource())
        except Conflict:  # another process of this store was first
            await self._people.keys.revoke(admin.id, key.record.id)
            return None
        if self._with_link:
            with suppress(Unavailable):  # the key does as well
                self.start_code = await self._people.browsers.make_link(admin)
        return key.secret

    async def close(self) -> None:
        """Stop the attempts and the housekeeping, and close the store."""
        await self._indexing.close()
        await end(self._task)
        if self.start_code is not None:
            with suppress(Unavailable):  # it ends by itself within minutes
                await self._people.browsers.drop_link(self.start_code)
        await self._store.close()


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("store keeper failed", exc_info=error)

"""Keeps the store open: at start-up, again after an outage, and does what must be done on opening."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import msgspec
import structlog

from jan.auth.accounts import Accounts, parse_scopes
from jan.errors import Conflict, JanError, Unavailable
from jan.schema.scopes import ADMIN_SCOPES
from jan.storage.records import User, milliseconds, now
from jan.storage.repositories import Store

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 2.0
# Often, since a server that is back at once finds the answers of its death too young to be marked.
_HOUSEKEEPING_SECONDS = 60.0
# An answer that is being written is saved more often than this; older ones lost their server.
STALE_STREAM = timedelta(minutes=2)
_KEEP_ENDED_SESSIONS = timedelta(days=7)
# How long a request that is sent again gets the same answer.
_KEEP_ANSWERS = timedelta(hours=24)
_ADMIN_EMAIL = "admin@localhost"


class StoreKeeper:
    """Opens the store; if it is away, the server runs without it and this goes on trying.

    ``show_late_key`` gets the secret of the first administrator's key if that is made after ``open``.
    """

    def __init__(
        self, store: Store, accounts: Accounts, *, create_admin: bool, show_late_key: Callable[[str], None]
    ) -> None:
        self._store = store
        self._accounts = accounts
        self._create_admin = create_admin
        self._show_late_key = show_late_key
        self._task: asyncio.Task[None] | None = None
        #: The secret of the key made at a first start.
        self.admin_key: str | None = None

    async def open(self) -> None:
        """The first attempt; raises ConfigurationError if the store will never be usable as configured."""
        opened = True
        try:
            await self._open_once()
        except Unavailable as error:
            log.warning("the store is away; serving what does not need it", reason=error.message)
            opened = False
        self._task = asyncio.create_task(self._keep(opened))
        self._task.add_done_callback(_tell_of_its_end)

    async def _open_once(self) -> None:
        await self._store.open()
        if self._create_admin and self.admin_key is None:
            self.admin_key = await self._first_admin()
        await self._housekeep()

    async def _keep(self, opened: bool) -> None:
        pause = _HOUSEKEEPING_SECONDS if opened else _RETRY_SECONDS
        while True:
            await asyncio.sleep(pause)
            pause = _HOUSEKEEPING_SECONDS
            try:
                if opened:
                    await self._housekeep()
                    continue
                await self._reopen()
                opened = True
            except Unavailable:
                pause = _HOUSEKEEPING_SECONDS if opened else _RETRY_SECONDS
            except (JanError, msgspec.MsgspecError) as error:
                # At start-up this would be the end; now somebody may mend it while the server runs.
                log.error("the store can't be kept", reason=str(error))

    async def _reopen(self) -> None:
        known = self.admin_key
        try:
            await self._open_once()
        finally:  # also when only the housekeeping failed: the key is never shown again
            if self.admin_key is not None and known is None:
                self._show_late_key(self.admin_key)
        log.info("the store is back")

    async def _housekeep(self) -> None:
        """Answers whose server died become partial; what is long over is forgotten."""
        ended = await self._store.messages.end_stale_streams(now() - STALE_STREAM)
        purged = await self._store.sessions.purge(now() - _KEEP_ENDED_SESSIONS)
        forgotten = await self._store.idempotent_answers.purge(now() - _KEEP_ANSWERS)
        await self._store.counters.purge(milliseconds(now()))
        if ended or purged or forgotten:
            log.info(
                "store tidied", interrupted_answers=ended, old_sessions=purged, old_idempotency_keys=forgotten
            )

    async def _first_admin(self) -> str | None:
        """An administrator with a key, if nobody is there yet; returns the key."""
        if (await self._store.users.page(limit=1)).items:
            return None
        admin = User(email=_ADMIN_EMAIL, name="Administrator", role="admin")
        # First the key: an administrator without one, made just before an outage, would never get one here.
        key, secret = await self._accounts.create_key(admin.id, "First key", parse_scopes(ADMIN_SCOPES))
        try:
            await self._store.users.create(admin)
        except Conflict:  # another process of this store was first
            await self._accounts.revoke_key(admin.id, key.id)
            return None
        return secret

    async def close(self) -> None:
        """Stop trying, close the store."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        await self._store.close()


def _tell_of_its_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("the store is kept no longer", exc_info=error)

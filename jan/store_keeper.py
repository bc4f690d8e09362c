"""Keeps the store open: at start-up, again after an outage, and does what must be done on opening."""

import asyncio
from contextlib import suppress
from datetime import timedelta

import structlog

from jan.auth.accounts import Accounts, parse_scopes
from jan.auth.scopes import ADMIN_SCOPES
from jan.errors import Conflict, Unavailable
from jan.storage.base import Store
from jan.storage.records import User, now

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 2.0
# Often, since a server that is back at once finds the answers of its death too young to be marked.
_HOUSEKEEPING_SECONDS = 60.0
# An answer that is being written is saved more often than this; older ones lost their server.
STALE_STREAM = timedelta(minutes=2)
_KEEP_ENDED_SESSIONS = timedelta(days=7)
_ADMIN_EMAIL = "admin@localhost"


class StoreKeeper:
    """Opens the store; if it is away, the server runs without it and this goes on trying."""

    def __init__(self, store: Store, accounts: Accounts, *, create_admin: bool) -> None:
        self._store = store
        self._accounts = accounts
        self._create_admin = create_admin
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

    async def _open_once(self) -> None:
        await self._store.open()
        if self._create_admin:
            self.admin_key = await self._first_admin()
        await self._housekeep()

    async def _keep(self, opened: bool) -> None:
        while True:
            await asyncio.sleep(_HOUSEKEEPING_SECONDS if opened else _RETRY_SECONDS)
            with suppress(Unavailable):
                if opened:
                    await self._housekeep()
                else:
                    await self._open_once()
                    opened = True
                    log.info("the store is back")

    async def _housekeep(self) -> None:
        """Answers whose server died become partial; sessions long over are forgotten."""
        ended = await self._store.messages.end_stale_streams(now() - STALE_STREAM)
        purged = await self._store.sessions.purge(now() - _KEEP_ENDED_SESSIONS)
        if ended or purged:
            log.info("store tidied", interrupted_answers=ended, old_sessions=purged)

    async def _first_admin(self) -> str | None:
        """An administrator with a key, if nobody is there yet; returns the key."""
        if (await self._store.users.page(limit=1)).items:
            return None
        admin = User(email=_ADMIN_EMAIL, name="Administrator", role="admin")
        try:
            await self._store.users.create(admin)
        except Conflict:
            return None  # another process of this store was first
        _, secret = await self._accounts.create_key(admin.id, "First key", parse_scopes(ADMIN_SCOPES))
        return secret

    async def close(self) -> None:
        """Stop trying, close the store."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._store.close()

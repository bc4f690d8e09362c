"""Ends what runs for credentials that are accepted no more: at once in the process that revoked them, and in all
others within a second, or as soon as the store answers."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import msgspec
import structlog

from jan.auth.credentials import accepted_key, accepted_session, accepted_user, check_scopes, scopes_of
from jan.errors import AuthenticationFailed, JanError, PermissionDenied
from jan.schema.scopes import Identity, Scope
from jan.storage.records import ApiKey, Record, User, now
from jan.storage.repositories import Store
from jan.storage.session_records import RefreshSession
from jan.tasks import end

log = structlog.get_logger(__name__)

R = TypeVar("R", bound=Record)

# Time between two looks at the store while anything runs. With the look itself it is less than a second.
_PAUSE_SECONDS = 0.7
# Records that one question to the store asks for.
_AT_ONCE = 1000


class Permit:
    """The credential that running work rests on, and the permissions that it needs.

    ``outlives``: the work may end its own credential, and must still answer then. It is short.
    """

    __slots__ = ("identity", "needs", "outlives")

    def __init__(self, identity: Identity, needs: tuple[Scope, ...] = (), *, outlives: bool = False) -> None:
        self.identity = identity
        self.needs = needs
        self.outlives = outlives


class Endable(Protocol):
    """Work that can be ended early."""

    def end(self, error: JanError) -> None:
        """End the work now, with an error for whoever waits for it."""
        ...


class _TaskWork:
    """A task whose result nobody needs once it was ended."""

    def __init__(self, task: "asyncio.Task[Any]") -> None:
        self._task = task

    def end(self, _error: JanError) -> None:
        self._task.cancel()


class RunningWork:
    """Everything that runs for callers with credentials.

    While there is any, all their credentials are looked up together, in a few questions to the store. A store that
    does not answer ends nothing. ``forget`` forgets remembered callers: whose work was ended must be refused too.
    """

    def __init__(self, store: Store, forget: Callable[[], None]) -> None:
        self._store = store
        self._forget = forget
        self._permits: dict[Endable, Permit] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._look: asyncio.Task[None] | None = None
        self._changed = self._failing = self._closed = False

    def add(self, work: Endable, permit: Permit) -> None:
        """Count work that begins. It ends with its credential, if it has one."""
        if permit.identity.user_id is not None and not permit.outlives:
            self._permits[work] = permit
            if self._timer is None:
                self._wait()

    def remove(self, work: Endable) -> None:
        """Count work no longer, because it ended."""
        self._permits.pop(work, None)

    @contextmanager
    def current_task(self, permit: Permit) -> Iterator[None]:
        """Count the current task as work, so that it is cancelled when its credential ends."""
        task = asyncio.current_task()
        assert task is not None  # called in a coroutine
        work = _TaskWork(task)
        self.add(work, permit)
        try:
            yield
        finally:
            self.remove(work)

    def look_now(self) -> None:
        """Ask the store at once, because this process has revoked or changed something."""
        self._changed = True
        self._begin_look()

    async def close(self) -> None:
        """Stop asking the store."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        await end(self._look)

    # --- the looks ----------------------------------------------------------------------------------

    def _wait(self) -> None:
        if not self._closed:
            self._timer = asyncio.get_running_loop().call_later(_PAUSE_SECONDS, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self._begin_look()

    def _begin_look(self) -> None:
        if self._look is None and self._permits and not self._closed:
            self._look = asyncio.create_task(self._end_revoked())
            self._look.add_done_callback(self._looked)

    def _looked(self, look: "asyncio.Task[None]") -> None:
        self._look = None
        if self._permits and self._timer is None:
            self._wait()
        if not look.cancelled() and (error := look.exception()) is not None:
            log.error("running work not checked", exc_info=error)

    async def _end_revoked(self) -> None:
        """Ask the store about all work, again if something changed meanwhile, and end what may not run."""
        self._changed = True
        while self._changed:
            self._changed = False
            # Only what ran before the question is judged by the answer.
            permits = list(self._permits.items())
            try:
                records = await _Records.read(self._store, [permit.identity for _, permit in permits])
            except (JanError, msgspec.MsgspecError) as error:
                if not self._failing:
                    self._failing = True
                    log.warning("revocations are not known to running work; asking on", reason=str(error))
                return
            self._failing = False
            self._end(permits, records)

    def _end(self, permits: Sequence[tuple[Endable, Permit]], records: "_Records") -> None:
        ended = 0
        for work, permit in permits:
            error = records.objection(permit)
            if error is not None and self._permits.pop(work, None) is not None:
                work.end(error)
                ended += 1
        if ended:
            self._forget()
            log.info("running work ended with its credentials", number=ended)


class _Records(msgspec.Struct, frozen=True):
    """The store's records of the credentials of running work, by id."""

    keys: dict[str, ApiKey]
    sessions: dict[str, RefreshSession]
    users: dict[str, User]

    @classmethod
    async def read(cls, store: Store, identities: Iterable[Identity]) -> "_Records":
        """Read the records of these callers. Raises Unavailable."""
        keys, sessions, users = set[str](), set[str](), set[str]()
        for identity in identities:
            users.add(identity.user_id or "")
            if identity.key_id is not None:
                keys.add(identity.key_id)
            if identity.session_id is not None:
                sessions.add(identity.session_id)
        return cls(
            keys=await _matching(store, ApiKey, keys),
            sessions=await _matching(store, RefreshSession, sessions),
            users=await _matching(store, User, users),
        )

    def objection(self, permit: Permit) -> JanError | None:
        """Return the error that refuses what has this permit; None if it may go on."""
        identity = permit.identity
        try:
            scopes = self._scopes(identity)
            if not scopes.issuperset(permit.needs):
                check_scopes(msgspec.structs.replace(identity, scopes=scopes), *permit.needs)
        except (AuthenticationFailed, PermissionDenied) as error:
            error.message = f"{error.message} What ran with these credentials was ended."
            return error.with_traceback(None)
        return None

    def _scopes(self, identity: Identity) -> frozenset[Scope]:
        """Return what a caller may do now. Raises AuthenticationFailed."""
        user, key = accepted_user(self.users.get(identity.user_id or "")), None
        if identity.key_id is not None:
            key = self.keys.get(identity.key_id)
            # What began before a key's own end may go on to its end, but not beyond the grace of a rotated key.
            key = accepted_key(key, now() if key is not None and key.replaced_by else None)
        if identity.session_id is not None:
            accepted_session(self.sessions.get(identity.session_id), user, issued_at=identity.issued_at)
        return scopes_of(user, key)


async def _matching(store: Store, kind: type[R], ids: Collection[str]) -> dict[str, R]:
    """Return the stored records among these ids, by id."""
    found: dict[str, R] = {}
    wanted = list(ids)
    for begin in range(0, len(wanted), _AT_ONCE):
        for record in await store.archive.matching(kind, wanted[begin : begin + _AT_ONCE]):
            found[record.id] = record
    return found

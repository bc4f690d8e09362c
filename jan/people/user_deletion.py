"""The deletion of users with all that is theirs, and the end of deletions that were cut off."""

from datetime import timedelta

import structlog

from jan.audit.acts import Auditor
from jan.auth.credentials import Credentials
from jan.errors import Conflict
from jan.people.users import Users
from jan.storage.records import User, UserChanges, now
from jan.storage.repositories import Store

log = structlog.get_logger(__name__)

# What began before a deletion has ended by then, in every process.
_SETTLED_AFTER = timedelta(minutes=2)
_FINISHED_AT_ONCE = 100


class UserDeletion:
    """Deletes users. The audit keeps what they did: it has their ids alone."""

    def __init__(self, store: Store, users: Users, credentials: Credentials, audit: Auditor) -> None:
        self._store = store
        self._users = users
        self._credentials = credentials
        self._audit = audit

    async def delete(self, user_id: str) -> None:
        """Delete a user: disabled first, so that what runs ends; then all that is theirs is removed.

        If this is cut off, ``finish`` does the rest. Raises NotFound, Conflict for the last administrator, and
        Unavailable.
        """
        user = await self._users.get(user_id)
        if user.role == "admin" and not user.disabled:
            await self._check_others(user)
            await self._store.users.update(user_id, UserChanges(disabled=True))
            await self._check_others(user)  # two administrators may be deleted at the same time
        await self._store.deletions.mark(user_id, now())
        self._credentials.forget()
        await self._audit.record("user.deleted", user_id=user_id, target=user_id)
        await self._erase(user_id)

    async def finish(self) -> int:
        """Finish deletions, and remove what requests stored that had begun before; return how many are over."""
        over = 0
        for user in await self._store.deletions.marked(_FINISHED_AT_ONCE):
            await self._erase(user.id)
            if user.deleted_at is not None and user.deleted_at < now() - _SETTLED_AFTER:
                await self._store.deletions.remove(user.id)
                over += 1
        return over

    async def _erase(self, user_id: str) -> None:
        while await self._store.deletions.erase(user_id):
            pass

    async def _check_others(self, user: User) -> None:
        """Raise Conflict, and leave a user as they were, if nobody else is an administrator."""
        others = (other for other in await self._users.all() if other.id != user.id)
        if not any(other.role == "admin" and not other.disabled for other in others):
            await self._store.users.update(user.id, UserChanges(disabled=user.disabled))
            raise Conflict(
                "The last administrator can't be deleted. Make somebody else an administrator first.",
                code="last_administrator",
            )

"""Users, as handlers and the command line work with them: the one way to their records."""

import msgspec
from msgspec import UNSET

from jan.audit.acts import Act, Auditor
from jan.auth.credentials import Credentials
from jan.idempotency.ids import IdSource
from jan.storage.paging import every_item
from jan.storage.records import Page, User, UserChanges
from jan.storage.repositories import Store

# All other fields of a user that can be changed limit what the user may use.
_NO_LIMITS = ("name", "role", "disabled", "valid_after", "oidc")


class Users:
    """The people who may use this server. Every method may raise Unavailable. Changes are audited."""

    def __init__(self, store: Store, credentials: Credentials, audit: Auditor) -> None:
        self._store = store
        self._credentials = credentials
        self._audit = audit

    async def get(self, user_id: str) -> User:
        """Return the user of this id; raises NotFound."""
        return await self._store.users.get(user_id)

    async def find_by_email(self, email: str) -> User | None:
        """Return the user of this address, whatever its case, or None."""
        return await self._store.users.find_by_email(email)

    async def page(self, *, limit: int, cursor: str | None = None) -> Page[User]:
        """Return one page of all users, in order of creation; raises InvalidRequest for a malformed cursor."""
        return await self._store.users.page(limit=limit, cursor=cursor)

    async def all(self) -> list[User]:
        """Return every user, in order of creation."""
        return await every_item(self._store.users.page)

    async def add(self, user: User, ids: IdSource) -> User:
        """Store a new user whose id is from ``ids``; an earlier attempt at the same request counts as this one.

        Raises Conflict, with ``param``, if its e-mail address or subject belongs to somebody.
        """
        added = await ids.make(user, self._store.users.create, lambda: self._store.users.get(user.id))
        await self._audit.record("user.added", user_id=added.id, target=added.id, role=added.role)
        return added

    async def rename(self, user_id: str, name: str) -> User:
        """Change the name that a user is shown by; raises NotFound."""
        renamed = await self._store.users.update(user_id, UserChanges(name=name))
        await self._audit.record("user.renamed", user_id=user_id, target=user_id)
        return renamed

    async def update(self, user_id: str, changes: UserChanges) -> User:
        """Set what ``changes`` names and return the user; raises NotFound.

        It counts at once in this process, and in others within a second.
        """
        user = await self._store.users.update(user_id, changes)
        self._credentials.forget()
        for act, details in _acts_of(changes):
            await self._audit.record(act, user_id=user_id, target=user_id, **details)
        return user


def _acts_of(changes: UserChanges) -> list[tuple[Act, dict[str, str]]]:
    """Return what changes to a user are in the audit, with the new values but for names."""
    acts: list[tuple[Act, dict[str, str]]] = []
    if changes.disabled is not UNSET:
        acts.append(("user.disabled" if changes.disabled else "user.enabled", {}))
    if changes.role is not UNSET:
        acts.append(("user.role_changed", {"role": changes.role}))
    limits = {name: value for name, value in msgspec.structs.asdict(changes).items() if name not in _NO_LIMITS}
    budgets = {name: str(value or "default") for name, value in limits.items() if value is not UNSET}
    if budgets:
        acts.append(("user.budget_changed", budgets))
    if changes.name is not UNSET:
        acts.append(("user.renamed", {}))
    return acts

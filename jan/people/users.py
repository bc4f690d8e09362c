"""Users, as handlers and the command line work with them: the one way to their records."""

from jan.auth.credentials import Credentials
from jan.idempotency.ids import IdSource
from jan.storage.paging import every_item
from jan.storage.records import Page, User, UserChanges
from jan.storage.repositories import Store


class Users:
    """The people who may use this server. Every method may raise Unavailable."""

    def __init__(self, store: Store, credentials: Credentials) -> None:
        self._store = store
        self._credentials = credentials

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
        return await ids.make(user, self._store.users.create, lambda: self._store.users.get(user.id))

    async def rename(self, user_id: str, name: str) -> User:
        """Change the name that a user is shown by; raises NotFound."""
        return await self._store.users.update(user_id, UserChanges(name=name))

    async def update(self, user_id: str, changes: UserChanges) -> User:
        """Set what ``changes`` names and return the user; raises NotFound.

        It counts at once in this process, and in others within a second.
        """
        user = await self._store.users.update(user_id, changes)
        self._credentials.forget()
        return user

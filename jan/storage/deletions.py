"""Contract of the deletion of users: marked first, then emptied, and removed at last.

The mark is durable and blanks the record, so that a deletion which is cut off is known and can be finished. A
marked user is not found any more, and can do nothing. Requests that began before the mark may still store
something. So ``erase`` is repeated, and the record is removed only when no such request can be left.
"""

from datetime import datetime
from typing import Protocol

from jan.storage.records import User

#: Conversations that one call of ``erase`` removes at most.
AT_ONCE = 20


def blanked(user: User, at: datetime) -> User:
    """Return the mark that stands for a deleted user: nothing of the person is left in it."""
    return User(
        id=user.id, email=f"{user.id}@deleted.invalid", disabled=True, created_at=user.created_at, deleted_at=at
    )


class Deletions(Protocol):
    """Users who are being deleted. The other repositories do not find them."""

    async def mark(self, user_id: str, at: datetime) -> None:
        """Blank and mark a user. Raises NotFound."""

    async def marked(self, limit: int) -> list[User]:
        """Return users who are marked, the first marked first."""

    async def erase(self, user_id: str) -> bool:
        """Remove some of what belongs to a user: conversations with their messages first, then keys, sessions,
        usage, shares, answers that are kept for repeated requests or queued, and counts.

        Returns False once nothing is left.
        """

    async def remove(self, user_id: str) -> None:
        """Remove the record of a user who is marked."""

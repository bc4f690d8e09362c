"""Records of conversations that are shared by a link, and the contract of their repository."""

from datetime import datetime
from typing import Protocol

import msgspec

from jan.storage.records import Page, Record, new_id, now


class ShareRecord(Record, frozen=True, kw_only=True):
    """A conversation that whoever has the link may read. Only the ``hash`` of the link's secret is kept.

    - ``title``: that of the conversation when the link was made; "" once a message was deleted, which it may be
      made of.
    - ``message_id``: the last message of the branch that is shared; None: all branches.
    - ``last_sequence``: the newest message that is shared; None: later ones are shared too.
    - ``with_system``: system prompts are shown.
    """

    id: str = msgspec.field(default_factory=lambda: new_id("share"))
    user_id: str
    conversation_id: str
    hash: str
    title: str
    message_id: str | None = None
    last_sequence: int | None = None
    with_system: bool = False
    created_at: datetime = msgspec.field(default_factory=now)
    expires_at: datetime

    def is_live(self, at: datetime) -> bool:
        """Return True if the link opens the conversation at this time."""
        return at < self.expires_at


class ShareRepository(Protocol):
    """Shares, found by the hash of their secret. Those of a conversation go with it."""

    async def create(self, share: ShareRecord) -> None:
        """Add a share. Raises Conflict if its id or hash is taken, NotFound if its user has no such conversation,
        and RateLimited beyond the quota."""

    async def find(self, share_id: str) -> ShareRecord | None:
        """Return the share with this id, whoever made it."""

    async def find_by_hash(self, share_hash: str) -> ShareRecord | None:
        """Return the share with this hash, also after its end."""

    async def page(
        self, user_id: str, *, conversation_id: str | None = None, limit: int, cursor: str | None = None
    ) -> Page[ShareRecord]:
        """List a user's shares in order of creation, or those of one conversation."""

    async def remove(self, user_id: str, share_id: str) -> None:
        """Remove a user's share. Raises NotFound."""

    async def blank_titles(self, conversation_id: str) -> None:
        """Remove the titles that the shares of a conversation show."""

    async def purge(self, before: datetime) -> int:
        """Remove shares that ended before this time; return their number."""

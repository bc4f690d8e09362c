"""Records of sign-ins, sessions that refresh tokens, cookies and links belong to, and their contract."""

from datetime import datetime
from typing import Literal, Protocol

import msgspec

from jan.storage.records import Page, Record, new_id, now

SessionKind = Literal["token", "cookie", "link"]


class RefreshSession(Record, frozen=True, kw_only=True):
    """A sign-in of a user.

    - ``kind``: ``token`` for a family of refresh tokens, of which only the newest (``current_jti``) is valid, and
      using an older one ends the session; ``cookie`` for a browser that keeps one token in a cookie; ``link`` for
      a link that begins one session, and whose code has the hash ``current_jti``.
    - ``device``: a name for people, such as "Firefox on Linux"; '' if unknown.
    - ``key_id``: the API key that the session was begun with. It may do what the key may, and ends with it.
    """

    id: str = msgspec.field(default_factory=lambda: new_id("sess"))
    user_id: str
    current_jti: str
    created_at: datetime = msgspec.field(default_factory=now)
    last_used_at: datetime = msgspec.field(default_factory=now)
    expires_at: datetime
    ended_at: datetime | None = None
    reason: str | None = None
    kind: SessionKind = "token"
    device: str = ""
    key_id: str | None = None


class Rotation(msgspec.Struct, frozen=True):
    """The result of presenting a refresh token. ``session`` is its state afterwards, None if unknown.

    - rotated: the token was current and is now replaced.
    - reused: the token was not current, so the session was ended.
    - ended, expired: the session was already over.
    """

    outcome: Literal["rotated", "reused", "ended", "expired", "unknown"]
    session: RefreshSession | None = None


class SessionRepository(Protocol):
    """Families of refresh tokens, with reuse detected atomically."""

    async def start(self, session: RefreshSession) -> None:
        """Add a session. Raises Conflict if its id is taken."""

    async def find(self, session_id: str) -> RefreshSession | None:
        """Return the session with this id, even if it has ended."""

    async def rotate(
        self, session_id: str, presented_jti: str, next_jti: str, *, at: datetime, expires_at: datetime
    ) -> Rotation:
        """Replace the current token by ``next_jti`` if it is the one presented. Of two concurrent calls, one
        wins."""

    async def page(self, user_id: str, *, limit: int, cursor: str | None = None) -> Page[RefreshSession]:
        """List a user's sessions that were not ended, expired ones too, in order of creation."""

    async def touch(self, session_id: str, at: datetime) -> None:
        """Note that a session was used then. An earlier time than the noted one changes nothing."""

    async def end(self, session_id: str, *, at: datetime, reason: str) -> None:
        """End a session. One that has already ended keeps its time and reason."""

    async def end_all(self, user_id: str, *, at: datetime, reason: str) -> int:
        """End a user's open sessions; return their number."""

    async def purge(self, before: datetime) -> int:
        """Forget sessions that expired before this time; return their number."""

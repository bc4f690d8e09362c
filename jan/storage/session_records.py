"""Records of sign-ins: sessions that refresh tokens, cookies and links belong to."""

from datetime import datetime
from typing import Literal

import msgspec

from jan.storage.records import Record, new_id, now

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

"""Settings of accounts: tokens, sessions and keys."""

from typing import Annotated, Literal

import msgspec

from jan.settings.server import Seconds


class AuthSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Lifetimes of credentials.

    - ``token_seconds``: how long a token is valid.
    - ``refresh_grace_seconds``: how long an expired token can still be exchanged, once.
    - ``session_seconds``: how long a session can be prolonged.
    - ``create_admin``: at the first start, create an administrator and a key. It is shown on a terminal,
      else written to ``admin-key`` in the data folder.
    """

    algorithm: Literal["HS256", "RS256", "EdDSA"] = "HS256"
    issuer: str = "jan-server"
    audience: str = "jan-server"
    token_seconds: Annotated[float, msgspec.Meta(gt=0)] = 3600.0
    refresh_grace_seconds: Seconds = 7 * 86400.0
    session_seconds: Annotated[float, msgspec.Meta(gt=0)] = 90 * 86400.0
    leeway_seconds: Annotated[float, msgspec.Meta(ge=0, le=300)] = 10.0
    key_rotation_grace_seconds: Seconds = 86400.0
    create_admin: bool = True

"""JSON Web Tokens: made by us, and believed only when every claim is as we make them."""

import secrets
from datetime import datetime, timedelta
from typing import Any

import jwt
import msgspec

from jan.auth.keyring import Keyring
from jan.errors import AuthenticationFailed

_REQUIRED = ["iss", "aud", "sub", "exp", "nbf", "iat", "jti", "sid"]
_FOR_EXCHANGE = "jan_for_exchange"


class TokenClaims(msgspec.Struct, frozen=True, kw_only=True):
    """What a verified token says: who (``user_id``), which session, which token of it, since when.

    ``for_exchange``: it can be exchanged for another, and opens nothing itself."""

    user_id: str
    session_id: str
    jti: str
    issued_at: datetime
    expires_at: datetime
    for_exchange: bool


def new_jti() -> str:
    """A new token's id."""
    return secrets.token_hex(16)


def looks_like_token(credential: str) -> bool:
    """Whether a credential has a token's three parts; a placeholder such as 'none' has not."""
    return credential.count(".") == 2


class TokenSigner:
    """Signs and verifies. ``lifetime``: of a token; ``leeway``: for clocks that differ."""

    def __init__(
        self, keyring: Keyring, *, issuer: str, audience: str, lifetime: timedelta, leeway: timedelta
    ) -> None:
        self._keyring = keyring
        self._issuer = issuer
        self._audience = audience
        self._lifetime = lifetime
        self._leeway = leeway

    def sign(
        self,
        *,
        user_id: str,
        session_id: str,
        jti: str,
        at: datetime,
        lifetime: timedelta | None = None,
        for_exchange: bool = False,
    ) -> tuple[str, datetime]:
        """A token and when it expires."""
        expires = at + (self._lifetime if lifetime is None else lifetime)
        key = self._keyring.signing
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": user_id,
            "sid": session_id,
            "jti": jti,
            "iat": at.timestamp(),
            "nbf": at,
            "exp": expires,
            **({_FOR_EXCHANGE: True} if for_exchange else {}),
        }
        token = jwt.encode(claims, key.private, algorithm=key.algorithm, headers={"kid": key.kid})
        return token, expires

    def verify(self, token: str, *, grace: timedelta = timedelta(0)) -> TokenClaims:
        """The claims of a token that is ours and not expired longer ago than ``grace``.

        Raises AuthenticationFailed, ``token_expired`` for a good token that is only too old.
        """
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            key = self._keyring.find(kid)
            if key is None:
                raise _refused("it was signed with a key that this server does not have")
            claims = jwt.decode(
                token,
                key.public,
                algorithms=[key.algorithm],
                issuer=self._issuer,
                audience=self._audience,
                leeway=self._leeway + grace,
                options={"require": _REQUIRED, "verify_nbf": False, "verify_iat": False},
            )
            self._check_beginning(token, key.public, key.algorithm)
        except jwt.ExpiredSignatureError:
            raise AuthenticationFailed(
                "the token has expired; get a new one with POST /api/v1/auth/refresh",
                code="token_expired",
                headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
            ) from None
        except jwt.InvalidTokenError as error:
            raise _refused(str(error)) from None
        return _claims(claims)

    def _check_beginning(self, token: str, public: Any, algorithm: str) -> None:
        """nbf and iat with the small leeway: the grace is for the end of a token only."""
        jwt.decode(
            token,
            public,
            algorithms=[algorithm],
            leeway=self._leeway,
            options={"verify_exp": False, "verify_aud": False},
        )


def _claims(claims: dict[str, Any]) -> TokenClaims:
    try:
        return msgspec.convert(
            {
                "user_id": claims["sub"],
                "session_id": claims["sid"],
                "jti": claims["jti"],
                "issued_at": claims["iat"],
                "expires_at": claims["exp"],
                "for_exchange": claims.get(_FOR_EXCHANGE, False),
            },
            TokenClaims,
            strict=False,
        )
    except msgspec.ValidationError:
        raise _refused("its claims are not of the right types") from None


def _refused(reason: str) -> AuthenticationFailed:
    return AuthenticationFailed(
        f"the token was not accepted: {reason[:200]}",
        code="invalid_token",
        headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
    )

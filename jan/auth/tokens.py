"""JSON Web Tokens (RFC 7519), which this server signs and verifies."""

import secrets
from datetime import datetime, timedelta
from typing import Any, Literal

import jwt
import msgspec

from jan.auth.keyring import Keyring
from jan.errors import AuthenticationFailed

_REQUIRED = ["iss", "aud", "sub", "exp", "nbf", "iat", "jti", "sid"]
_FOR_EXCHANGE = "jan_for_exchange"
_IN_COOKIE = "jan_in_cookie"

TokenUse = Literal["bearer", "exchange", "cookie"]


class TokenClaims(msgspec.Struct, frozen=True, kw_only=True):
    """The claims of a verified token.

    ``for_exchange`` marks a token that can only be exchanged for another one, ``in_cookie`` one that counts only
    as the cookie of a browser.
    """

    user_id: str
    session_id: str
    jti: str
    issued_at: datetime
    expires_at: datetime
    for_exchange: bool
    in_cookie: bool


def new_jti() -> str:
    """Make the id of a new token."""
    return secrets.token_hex(16)


def looks_like_token(credential: str) -> bool:
    """Return True if a credential has the three parts of a token. A placeholder such as 'none' does not."""
    return credential.count(".") == 2


class TokenSigner:
    """Signs and verifies tokens. ``lifetime`` is that of a token; ``leeway`` allows for differing clocks."""

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
        use: TokenUse = "bearer",
    ) -> tuple[str, datetime]:
        """Return a new token and the time when it expires."""
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
            **({_FOR_EXCHANGE: True} if use == "exchange" else {}),
            **({_IN_COOKIE: True} if use == "cookie" else {}),
        }
        token = jwt.encode(claims, key.private, algorithm=key.algorithm, headers={"kid": key.kid})
        return token, expires

    def verify(self, token: str, *, grace: timedelta = timedelta(0)) -> TokenClaims:
        """Verify a token, which may have expired up to ``grace`` ago, and return its claims.

        Raises AuthenticationFailed, with code ``token_expired`` if the token is valid except for its age.
        """
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            key = self._keyring.find(kid)
            if key is None:
                raise _refused("It was signed with a key that this server does not have.")
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
                "The token has expired. Get a new one with POST /api/v1/auth/refresh.",
                code="token_expired",
                headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
            ) from None
        except jwt.InvalidTokenError as error:
            raise _refused(f"{error}.") from None
        return _claims(claims)

    def _check_beginning(self, token: str, public: Any, algorithm: str) -> None:
        """Check nbf and iat without the grace period, which applies only to the end of a token."""
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
                "in_cookie": claims.get(_IN_COOKIE, False),
            },
            TokenClaims,
            strict=False,
        )
    except msgspec.ValidationError:
        raise _refused("Its claims are not of the right types.") from None


def _refused(reason: str) -> AuthenticationFailed:
    return AuthenticationFailed(
        f"The token was not accepted. {reason[:200]}",
        code="invalid_token",
        headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
    )

"""Verifies ID tokens (OpenID Connect Core, section 3.1.3.7): issued for this client, now, and for this sign-in."""

import base64
import hashlib
import secrets
from collections.abc import Iterable
from typing import Any

import jwt
import msgspec

from jan.auth.oidc.claims import usable_claims
from jan.errors import AuthenticationFailed

# Only asymmetric algorithms: with HMAC the provider's published key would be the secret.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_LEEWAY_SECONDS = 60
_REQUIRED = ["iss", "sub", "aud", "exp", "iat"]


class IdTokenClaims(msgspec.Struct, frozen=True, kw_only=True):
    """The claims of a verified ID token. ``hd`` is Google's: the organisation that manages the account."""

    sub: str
    aud: str | list[str]
    azp: str | None = None
    nonce: str | None = None
    at_hash: str | None = None
    email: str | None = None
    email_verified: bool = False
    name: str | None = None
    hd: str | None = None


class IdTokenHeader(msgspec.Struct, frozen=True):
    """The unverified header of an ID token, used only to find the key that must verify it."""

    alg: str
    kid: str | None = None


def header_of(token: str) -> IdTokenHeader:
    """Parse an ID token's header. Raises AuthenticationFailed."""
    try:
        header = msgspec.convert(jwt.get_unverified_header(token), IdTokenHeader)
    except (jwt.InvalidTokenError, msgspec.ValidationError):
        raise _refused("It is malformed.") from None
    if header.alg not in ALGORITHMS:
        raise _refused("Its algorithm is not allowed.")
    return header


def find_key(keys: Iterable[dict[str, Any]], header: IdTokenHeader) -> jwt.PyJWK | None:
    """Return the only published key that may verify a token with this header, or None.

    A token that names no key can be verified only if exactly one key fits.
    """
    fitting = [key for jwk in keys if (key := _usable(jwk, header)) is not None]
    return fitting[0] if len(fitting) == 1 else None


def _usable(jwk: dict[str, Any], header: IdTokenHeader) -> jwt.PyJWK | None:
    if header.kid is not None and jwk.get("kid") != header.kid:
        return None
    if "d" in jwk or jwk.get("use") not in (None, "sig") or jwk.get("alg") not in (None, header.alg):
        return None
    try:
        # PyJWK refuses a key of the wrong type for the algorithm, such as a shared secret ("oct"). Private keys
        # were refused above: once published, they are not secret.
        return jwt.PyJWK(jwk, algorithm=header.alg)
    except jwt.PyJWTError:
        return None


def verify(
    token: str, key: jwt.PyJWK, *, issuers: list[str], client_id: str, nonce: str, access_token: str
) -> IdTokenClaims:
    """Verify a token and return its claims (OpenID Connect Core, section 3.1.3.7). Raises AuthenticationFailed."""
    try:
        decoded = jwt.decode(
            token,
            key.key,
            algorithms=[key.algorithm_name],
            issuer=issuers,
            audience=client_id,
            leeway=_LEEWAY_SECONDS,
            options={"require": _REQUIRED},
        )
        claims = msgspec.convert(usable_claims(decoded), IdTokenClaims)
        msgspec.json.encode(claims)  # raises for half a character, which JSON can have and nothing can store
    except jwt.InvalidTokenError as error:
        raise _refused(f"{str(error)[:200]}.") from None
    # PyJWT lets the errors of impossible times through.
    except (msgspec.ValidationError, TypeError, ValueError, OverflowError):
        raise _refused("Its claims are not of the right types.") from None
    several = isinstance(claims.aud, list) and len(claims.aud) > 1
    if claims.azp != client_id and (several or claims.azp is not None):
        raise _refused("It was made for another client.")
    if claims.nonce is None or not secrets.compare_digest(claims.nonce.encode(), nonce.encode()):
        raise _refused("It belongs to another sign-in (nonce).")
    if claims.at_hash is not None and claims.at_hash != _half_hash(access_token, key.algorithm_name):
        raise _refused("It belongs to another access token (at_hash).")
    return claims


def _half_hash(text: str, algorithm: str) -> str:
    """Return the left half of a text's hash, with the hash function of the signature's algorithm."""
    bits = "512" if algorithm == "EdDSA" else algorithm[-3:]
    digest = hashlib.new(f"sha{bits}", text.encode()).digest()
    return base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()


def _refused(reason: str) -> AuthenticationFailed:
    return AuthenticationFailed(f"The provider's ID token was not accepted. {reason}", code="invalid_id_token")

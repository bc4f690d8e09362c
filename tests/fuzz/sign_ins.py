"""What a sign-in provider sends: documents, keys, answers, ID tokens, claims. A hostile one gets nobody in."""

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt import PyJWK, PyJWS
from jwt.algorithms import OKPAlgorithm

from fuzz.given import Given
from fuzz.json_mutations import mutated
from fuzz.refusals import check_refusal
from jan.auth.oidc.authorization import Authorization
from jan.auth.oidc.flow import Flow
from jan.auth.oidc.id_token import IdTokenClaims, IdTokenHeader, find_key, header_of, verify
from jan.auth.oidc.provider import KeySet, Metadata, TokenAnswer, UserInfo, _decode
from jan.auth.oidc.provider_urls import may_name
from jan.auth.oidc.refusal import ProviderRefused
from jan.auth.oidc.sign_in import SignIn, _code
from jan.errors import JanError
from jan.schema.email_address import is_email
from jan.schema.plain_text import cleaned
from jan.settings.addresses import host_of
from jan.settings.sign_in import SignInSettings
from jan.storage.records import User

_ISSUER, _CLIENT, _NONCE, _ACCESS = "https://id.example.org", "jan", "the-nonce", "the-access-token"
_FLOW = Flow(state="the-state", nonce=_NONCE, verifier="v" * 64, redirect_uri="http://127.0.0.1:1/callback")
_KEPT = b'"iss": "https://id.example.org", "aud": "jan", "iat": 1700000000, "exp": 4100000000'
_METADATA = Metadata(_ISSUER, f"{_ISSUER}/a", f"{_ISSUER}/t", f"{_ISSUER}/k")


@cache
def _private() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@cache
def _public() -> PyJWK:
    return PyJWK(OKPAlgorithm.to_jwk(_private().public_key(), as_dict=True), algorithm="EdDSA")


@cache
def _sign_in() -> SignIn:
    """Return a sign-in of which only what needs no store is used."""
    nothing: Any = None
    return SignIn(SignInSettings(issuer=_ISSUER, client_id=_CLIENT), nothing, nothing, nothing, nothing)


# --- parts ----------------------------------------------------------------------------------------------


def _decoded(raw: bytes, kind: type[Any]) -> Any:
    """Decode as the provider's client does; None for what it calls no answer."""
    try:
        return _decode(raw, kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _document(raw: bytes) -> None:
    found = _decoded(raw, Metadata)
    if found is None:
        return
    for url in (found.authorization_endpoint, found.token_endpoint, found.jwks_uri, found.userinfo_endpoint):
        if url is not None and may_name(_ISSUER, url):
            assert url.startswith("https://"), url
            assert host_of(url).strip(".") not in ("localhost", "127.0.0.1", "::1", "0.0.0.0", ""), url


def _keys(raw: bytes) -> None:
    found = _decoded(raw, KeySet)
    if found is not None:
        for algorithm in ("RS256", "ES256", "EdDSA"):
            find_key(found.keys, IdTokenHeader(algorithm))


def _answer(raw: bytes) -> None:
    found = _decoded(raw, TokenAnswer)
    if found is None:
        return
    try:
        Authorization(_CLIENT).check_token_answer(msgspec.json.encode(found))
    except ProviderRefused as error:
        _check_name(error.name)
    if found.id_token is not None:
        _token(found.id_token.encode())


def _check_name(name: str) -> None:
    assert name.isascii()
    assert name.isprintable()


def _userinfo(raw: bytes) -> None:
    found = _decoded(raw, UserInfo)
    if found is not None:
        claims = IdTokenClaims(sub=found.sub, aud=_CLIENT, email=found.email, name=found.name)
        _person(msgspec.structs.replace(claims, email_verified=found.email_verified))


def _token(raw: bytes) -> None:
    """Verify a token that the provider's key has not signed, but for the one of the seeds."""
    token = raw.decode("utf-8", "replace")
    header_of(token)
    _verified(token)


def _claims(raw: bytes) -> None:
    """Verify claims that the provider's key has signed, and find the person."""
    claims = _verified(PyJWS().encode(raw, _private(), algorithm="EdDSA"))
    assert claims.nonce == _NONCE
    assert claims.aud in (_CLIENT, [_CLIENT]) or claims.azp == _CLIENT
    _person(claims)


def _changed_claims(raw: bytes) -> None:
    """Verify claims of which all that is checked is right, and the rest as given."""
    _claims(b"{" + _KEPT + b', "nonce": "the-nonce", "sub": "s", ' + raw + b"}")


def _verified(token: str) -> IdTokenClaims:
    return verify(token, _public(), issuers=[_ISSUER], client_id=_CLIENT, nonce=_NONCE, access_token=_ACCESS)


def _person(claims: IdTokenClaims) -> None:
    person = _sign_in()._person(claims)
    if is_email(person.email):
        assert person.email.isascii()
        assert person.email.isprintable()
        assert " " not in person.email
    # It will be stored, and shown.
    msgspec.json.encode(User(email=person.email, name=person.name, oidc=person.subject))
    assert cleaned(person.name) == person.name


def _callback(raw: bytes) -> None:
    code = _code(Authorization(_CLIENT), raw.decode("latin1"), _FLOW, _METADATA)
    assert code
    Authorization(_CLIENT).token_request(_FLOW, code, "secret")


_PARTS: tuple[Callable[[bytes], None], ...] = (
    _document,
    _keys,
    _answer,
    _userinfo,
    _token,
    _claims,
    _changed_claims,
    _callback,
)


def words() -> Iterable[bytes]:
    """Yield names and values of documents, keys and claims."""
    for kind in (Metadata, KeySet, TokenAnswer, UserInfo, IdTokenClaims):
        yield from (f'"{name}":'.encode() for name in kind.__struct_fields__)
    yield from b'"kty": "RSA" "EC" "OKP" "crv": "P-256" "x": "n": "e": "kid": "exp": "nbf": "iss": "crit":'.split(
        b" "
    )
    yield from b'"\\ud800" "true" 1e400 -1 NaN null [] {} 99999999999999999999 \\u200b \\u202e \xe2\x84\xaa'.split(
        b" "
    )
    yield from b"https:// http://127.0.0.1 [::1] @ xn-- . state=the-state &code= &error= %ff".split(b" ")


def seeds() -> Iterable[bytes]:
    """Yield what an honest provider sends."""
    claims = (
        b"{" + _KEPT + b', "nonce": "the-nonce", "sub": "s", "email": "a@example.org", "email_verified": true}'
    )
    token = PyJWS().encode(claims, _private(), algorithm="EdDSA")
    yield b"\0" + msgspec.json.encode(_METADATA)
    yield b"\1" + msgspec.json.encode({"keys": [OKPAlgorithm.to_jwk(_private().public_key(), as_dict=True)]})
    yield b'\1{"keys": [{"kty": "RSA", "n": "' + b"vQ" * 100 + b'", "e": "AQAB", "alg": "RS256", "use": "sig"}]}'
    yield b'\1{"keys": [{"kty": "EC", "crv": "P-256", "x": "' + b"A" * 43 + b'", "y": "' + b"A" * 43 + b'"}]}'
    yield b"\2" + msgspec.json.encode(TokenAnswer(_ACCESS, "Bearer", token))
    yield b'\2{"error": "invalid_grant"}'
    yield b'\3{"sub": "s", "email": "a@example.org", "email_verified": "true", "name": "A"}'
    yield b"\4" + token.encode()
    yield b"\5" + claims
    yield b'\6"email": "a@example.org", "email_verified": true, "name": "A B", "hd": "example.org"'
    yield b"\7state=the-state&code=the-code&iss=https%3A%2F%2Fid.example.org"
    yield b"\7state=the-state&error=access_denied&error_description=x"


@cache
def _names() -> tuple[str, ...]:
    return tuple(word.decode(errors="replace").strip(': "') for word in words() if word.startswith(b'"'))


def mutate(data: bytes, seed: int) -> bytes | None:
    """Change a part so that it stays JSON; None if it is none."""
    opened = b"{" + data[1:] + b"}" if data[:1] == b"\6" else data[1:]
    changed = mutated(opened, _names(), seed)
    if changed is None:
        return None
    return data[:1] + (changed[1:-1] if data[:1] == b"\6" else changed)


def check(data: bytes) -> None:
    """Take one part of a sign-in from a provider."""
    given = Given(data)
    try:
        given.one_of(_PARTS)(given.rest())
    except JanError as error:
        check_refusal(error, 503)
    except ProviderRefused as error:
        _check_name(error.name)

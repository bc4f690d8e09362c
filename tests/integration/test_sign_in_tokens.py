"""ID tokens that lie: another's, expired, unverified, forged. Refused in words, never a 500."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from support.fake_oidc import ACCESS, JSON_NULL, FakeProvider, Lab, attempt, code_of, finish, reply
from support.oidc import SECRET
from support.server import http_client

from jan.storage import store_from_url
from jan.storage.records import UserChanges


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    found = Lab(tmp_path_factory.mktemp("lab"))
    yield found
    found.stop()


def test_the_provider_is_believed_when_all_is_right(lab: Lab) -> None:
    """With a good ID token somebody comes in; the secret went in the Authorization header, the verifier along."""
    answer = finish(lab)
    assert answer.status_code == 200, answer.text
    assert answer.json()["user"]["email"] == "ada@example.com"
    form = lab.provider.forms[-1]
    assert set(form) == {"grant_type", "client_id", "code", "redirect_uri", "code_verifier"}
    assert form["code"] == ["the-code"]


# --- claims -----------------------------------------------------------------------------------------

_LONG_AGO = 1_000_000_000
_FAR = 4_000_000_000
_WRONG_CLAIMS: list[dict[str, Any]] = [
    {"aud": "another-client"},
    {"aud": ["jan", "another-client"]},
    {"aud": ["jan", "another-client"], "azp": "another-client"},
    {"azp": "another-client"},
    {"aud": []},
    {"aud": None},
    {"iss": "https://accounts.google.com"},
    {"iss": "http://127.0.0.1:1"},
    {"iss": None},
    {"exp": _LONG_AGO},
    {"exp": None},
    {"exp": "soon"},
    {"exp": []},
    {"exp": 1e400},
    {"nbf": _FAR},
    {"iat": _FAR},
    {"iat": None},
    {"nonce": "another"},
    {"nonce": None},
    {"nonce": 7},
    {"sub": None},
    {"sub": 7},
    {"at_hash": "another"},
    {"azp": 7},
    {"at_hash": 7},
    {"at_hash": True},
    {"aud": {"jan": True}},
    {"nonce": "\ud800"},
    {"sub": "subject-of-ada\udfff"},
    {"azp": "\ud800"},
    {"at_hash": "\ud800"},
]


@pytest.mark.parametrize("claims", _WRONG_CLAIMS, ids=json.dumps)
def test_a_wrong_claim_is_refused(lab: Lab, claims: dict[str, Any]) -> None:
    """An ID token for another client, of another issuer, time, sign-in or access token is refused: 401."""
    assert code_of(finish(lab, **claims)) == (401, "invalid_id_token")


def test_a_right_at_hash_is_accepted(lab: Lab) -> None:
    """An ID token that names the access token that came with it is good."""
    half = hashlib.sha256(ACCESS.encode()).digest()[:16]
    at_hash = base64.urlsafe_b64encode(half).rstrip(b"=").decode()
    assert finish(lab, at_hash=at_hash, azp="jan", aud=["jan", "other"]).status_code == 200


# Whole sign-ins of real providers have these: Amazon Cognito, Apple and JumpCloud send the texts.
_HARMLESS: list[dict[str, Any]] = [
    {"email_verified": "true"},
    {"email_verified": "True"},
    {"name": 7},
    {"name": JSON_NULL},
    {"name": "Ada \ud800"},
    {"hd": "\udfff"},
    {"name": {"given": "Ada"}},
    {"hd": ["example.com"]},
    {"azp": JSON_NULL},
    {"at_hash": JSON_NULL},
    {"aud": ["jan"]},
    {"exp": _FAR + 0.5},
    {"picture": {"data": {"url": "x"}}, "groups": None, "updated_at": "yesterday", "address": 3, "locale": []},
]


@pytest.mark.parametrize("claims", _HARMLESS, ids=ascii)
def test_an_odd_claim_about_the_person_harms_nothing(lab: Lab, claims: dict[str, Any]) -> None:
    """A claim that only describes the person, of an unusual type or null, does not refuse the whole token."""
    answer = finish(lab, **claims)
    assert answer.status_code == 200, answer.text
    assert answer.json()["user"]["email"] == "ada@example.com"


def test_a_name_of_the_provider_is_cleaned(lab: Lab) -> None:
    """A name does not steer the terminal of who lists the users, and hides nothing."""
    answer = finish(lab, name="\x1b[31mA\u202eda\u200b\r\nuser_0000  admin ")
    assert answer.json()["user"]["name"] == "[31mAda  user_0000  admin"


_USERINFO: list[tuple[dict[str, Any], tuple[int, str]]] = [
    ({"email_verified": True}, (200, "")),
    ({"email_verified": "true"}, (200, "")),
    ({"email_verified": "TRUE", "name": 7, "picture": {}, "phone_number": None}, (200, "")),
    ({"email_verified": "false"}, (403, "email_not_verified")),
    ({"email_verified": None}, (403, "email_not_verified")),
    ({"email_verified": 1}, (403, "email_not_verified")),
    ({}, (403, "email_not_verified")),
    ({"email_verified": True, "email": None}, (403, "email_missing")),
    ({"email_verified": True, "email": ["ada@example.com"]}, (403, "email_missing")),
    ({"email_verified": True, "sub": 7}, (503, "sign_in_provider_failed")),
    ({"email_verified": True, "sub": None}, (503, "sign_in_provider_failed")),
]


@pytest.mark.parametrize(("info", "expected"), _USERINFO, ids=str)
def test_userinfo_as_providers_send_it(lab: Lab, info: dict[str, Any], expected: tuple[int, str]) -> None:
    """The address comes from the userinfo endpoint, with claims of unusual types."""
    lab.provider.replies["/userinfo"] = reply(200, {"sub": "subject-of-ada", "email": "ada@example.com", **info})
    try:
        answer = finish(lab, email=None, email_verified=None, name=None)
    finally:
        lab.provider.replies.clear()
    if expected[0] == 200:
        assert answer.status_code == 200, answer.text
        assert answer.json()["user"]["email"] == "ada@example.com"
    else:
        assert code_of(answer) == expected


def test_nulls_in_what_a_provider_publishes(tmp_path: Path) -> None:
    """Null in the discovery document, the keys or the token's answer counts as absent."""
    lab = Lab(tmp_path)
    try:
        nulls = {
            "token_endpoint_auth_methods_supported": None,
            "authorization_response_iss_parameter_supported": None,
        }
        lab.provider.replies["/.well-known/openid-configuration"] = reply(200, lab.provider.document(**nulls))
        lab.provider.replies["/keys"] = reply(
            200, {"keys": [{**lab.provider.public_key(), "use": None, "alg": None}]}
        )
        assert finish(lab).status_code == 200
    finally:
        lab.stop()


_NOT_ADMITTED: list[tuple[dict[str, Any], str]] = [
    ({"email_verified": False}, "email_not_verified"),
    ({"email_verified": None}, "email_not_verified"),
    *(
        ({"email_verified": odd}, "email_not_verified")
        for odd in ("false", "False", "yes", "1", "", 1, 1.0, {}, ["true"])
    ),
    ({"email_verified": JSON_NULL}, "email_not_verified"),
    ({"email": "eve@evil.example"}, "domain_not_allowed"),
    ({"email": "eve@example.com.evil.example"}, "domain_not_allowed"),
    ({"email": "eve@sub.example.com"}, "domain_not_allowed"),
    ({"email": "eve@evil.example@example.com"}, "email_missing"),
    ({"email": "@example.com"}, "email_missing"),
    ({"email": "a b@example.com"}, "email_missing"),
    ({"email": " ada@example.com"}, "email_missing"),
    ({"email": "ada@example.com\n"}, "email_missing"),
    ({"email": "ada\x00@example.com"}, "email_missing"),
    ({"email": "ada\u200b@example.com"}, "email_missing"),
    ({"email": "\u0430da@example.com"}, "email_missing"),
    ({"email": "ada@ex\u00e4mple.com"}, "email_missing"),
    ({"email": "ada@example\u3002com"}, "email_missing"),
    ({"email": "ada@example.\uff43om"}, "email_missing"),
    ({"sub": "another-subject"}, "account_linked_elsewhere"),
]


@pytest.mark.parametrize(("claims", "code"), _NOT_ADMITTED, ids=ascii)
def test_who_may_not_come_in(lab: Lab, claims: dict[str, Any], code: str) -> None:
    """An unverified address, a foreign domain, and somebody else with a known address are refused: 403."""
    assert finish(lab).status_code == 200
    assert code_of(finish(lab, **claims)) == (403, code)


# Each becomes the address of somebody else in lower case, or by Unicode's compatibility forms (NFKC).
_LOOKALIKES = ("bos\u212a@example.com", "bosk@example.com\u200b", "\uff42osk@example.com", "BOS\u212a@EXAMPLE.COM")


@pytest.mark.parametrize("address", _LOOKALIKES, ids=ascii)
@pytest.mark.parametrize("role", ["admin", "user"])
def test_an_address_that_looks_like_another_takes_no_account(lab: Lab, role: str, address: str) -> None:
    """An account is found by exactly the address that the provider vouches for: a Kelvin sign is no k. The account
    stays its owner's, who can still sign in to it."""
    owner = f"{role}-bosk@example.com"
    headers = {"Authorization": f"Bearer {lab.server.admin_key}"}
    with http_client(lab.server, headers=headers) as admin:
        made = admin.post("/api/v1/users", json={"email": owner, "role": role})
    assert made.status_code in (200, 409)
    hostile = finish(lab, sub=f"hostile-{role}", email=f"{role}-{address}")
    assert code_of(hostile) == (403, "email_missing")
    assert finish(lab, sub=f"owner-{role}", email=owner).json()["user"]["role"] == role


def test_a_domain_that_looks_like_another_is_not_allowed(tmp_path: Path) -> None:
    """Not even where it becomes an allowed one in lower case. An allowed one may be an A-label."""
    lab = Lab(tmp_path, domains="korp.test, xn--bcher-kva.example")
    try:
        assert code_of(finish(lab, sub="1", email="z@\u212aorp.test")) == (403, "email_missing")
        assert finish(lab, sub="2", email="z@KORP.test").json()["user"]["email"] == "z@korp.test"
        assert finish(lab, sub="3", email="z@xn--bcher-kva.example").status_code == 200
    finally:
        lab.stop()


def test_a_disabled_user_is_refused(lab: Lab) -> None:
    """A disabled user does not come in, and is not changed by trying."""
    user_id = finish(lab, sub="d", email="dora@example.com", name="Dora").json()["user"]["id"]

    async def disable_and_try() -> str:
        store = store_from_url(f"sqlite:///{lab.data / 'jan.db'}", timeout=5)
        await store.open()
        try:
            await store.users.update(user_id, UserChanges(disabled=True))
            answer = await asyncio.to_thread(finish, lab, sub="d", email="dora@example.com", name="Other")
            assert code_of(answer) == (401, "account_disabled")
            return (await store.users.get(user_id)).name
        finally:
            await store.close()

    assert asyncio.run(disable_and_try()) == "Dora"


# --- signatures -------------------------------------------------------------------------------------


_FORGERIES = (
    "alg none",
    "alg None",
    "HS256 with the public key",
    "HS256 with the client secret",
    "RS256 by name, HMAC in truth",
    "a stranger's key under a known kid",
    "a stranger's key in the header",
    "an unknown kid",
    "a path as kid",
    "edited claims",
    "no signature",
    "two parts",
    "not a token",
    "empty",
    "deep",
)


def _segment(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _forged(header: dict[str, Any], claims: dict[str, Any], secret: bytes) -> str:
    text = f"{_segment(header)}.{_segment(claims)}"
    signature = hmac.digest(secret, text.encode(), "sha256") if secret else b""
    return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def _forgeries(provider: FakeProvider, claims: dict[str, Any]) -> dict[str, str]:
    pem = provider.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    provider.says(claims)
    good = provider.token_answer["id_token"]
    head, body, signature = good.split(".")
    stranger = generate_private_key(public_exponent=65537, key_size=2048)

    def signed(**signing: Any) -> str:
        provider.says(claims, **signing)
        return str(provider.token_answer["id_token"])

    return {
        "alg none": _forged({"alg": "none", "kid": provider.kid}, claims, b""),
        "alg None": _forged({"alg": "nOnE"}, claims, b""),
        "HS256 with the public key": _forged({"alg": "HS256", "kid": provider.kid}, claims, pem),
        "HS256 with the client secret": _forged({"alg": "HS256"}, claims, SECRET.encode()),
        "RS256 by name, HMAC in truth": _forged({"alg": "RS256", "kid": provider.kid}, claims, pem),
        "a stranger's key under a known kid": signed(key=stranger),
        "a stranger's key in the header": signed(
            key=stranger, headers={"kid": provider.kid, "jwk": {"kty": "RSA"}, "jku": "http://127.0.0.1:1/"}
        ),
        "an unknown kid": signed(headers={"kid": "unknown"}),
        "a path as kid": signed(headers={"kid": "../../dev/null"}),
        "edited claims": f"{head}.{_segment({**claims, 'sub': 'admin'})}.{signature}",
        "no signature": f"{head}.{body}.",
        "two parts": f"{head}.{body}",
        "not a token": "rubbish",
        "empty": "",
        "deep": base64.urlsafe_b64encode(b"[" * 40_000).decode() + ".e30.AAAA",
    }


@pytest.mark.parametrize("kind", _FORGERIES)
def test_a_forged_signature_is_refused(lab: Lab, kind: str) -> None:
    """An ID token that is not signed by a published key with its own algorithm is refused: 401."""
    with attempt(lab) as begun:
        forged = _forgeries(lab.provider, lab.provider.claims(begun.nonce))[kind]
        lab.provider.token_answer = {"access_token": ACCESS, "token_type": "Bearer", "id_token": forged}
        assert code_of(begun.callback()) == (401, "invalid_id_token")


def test_new_keys_of_the_provider_are_found(lab: Lab) -> None:
    """A provider that changes its keys is asked for them once more, and believed."""
    assert finish(lab).status_code == 200
    lab.provider.key, lab.provider.kid = generate_private_key(public_exponent=65537, key_size=2048), "second"
    lab.provider.asked.clear()
    assert finish(lab).status_code == 200
    assert finish(lab).status_code == 200
    assert lab.provider.asked.count("/keys") == 1
    assert lab.provider.asked.count("/.well-known/openid-configuration") == 0

"""Sessions and tokens through HTTP, and every way of forging a token that we know."""

import asyncio
import base64
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from support.server import ECHO_CONFIG, ServerProcess, http_client

from jan.people.assembly import People, make_keyring, make_people
from jan.settings import Settings
from jan.settings.load import load_settings
from jan.storage import Store, store_from_url
from jan.storage.records import User, UserChanges

T = TypeVar("T")

ALGORITHMS = ("HS256", "RS256", "EdDSA")
GRACE_SECONDS = 600


class Realm:
    """A server, and the same people from outside: what an administrator could do."""

    def __init__(self, folder: Path, algorithm: str) -> None:
        config = folder / "jan.yaml"
        config.write_text(
            f"{ECHO_CONFIG}\ndata: {folder}/data\n"
            f"auth: {{algorithm: {algorithm}, refresh_grace_seconds: {GRACE_SECONDS}, leeway_seconds: 1}}\n"
        )
        self.settings: Settings = load_settings(config)
        self.server = ServerProcess(config)
        self.client = http_client(self.server)
        self.keyring = make_keyring(self.settings)
        self.keyring.load()
        self._users = 0

    def run(self, action: Callable[[Store, People], Any]) -> Any:
        async def main() -> Any:
            store = store_from_url(self.settings.storage_url)
            await store.open()
            try:
                return await action(store, make_people(self.settings.auth, store, self.keyring))
            finally:
                await store.close()

        return asyncio.run(main())

    def new_user(self) -> User:
        self._users += 1
        user = User(email=f"user{self._users}@example.org")
        self.run(lambda store, _: store.users.create(user))
        return user

    def sign_in(self, user: User) -> str:
        async def action(_store: Store, people: People) -> str:
            return (await people.sessions.sign_in(user)).token

        return str(self.run(action))

    def forge(self, token: str, **changes: Any) -> str:
        """The token with other claims, signed with the server's own key; None removes a claim."""
        claims = jwt.decode(token, options={"verify_signature": False}) | changes
        key = self.keyring.signing
        kept = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(kept, key.private, algorithm=key.algorithm, headers={"kid": key.kid})

    def expired(self, token: str, seconds_ago: float) -> str:
        now = time.time()
        return self.forge(
            token, iat=now - seconds_ago - 60, nbf=int(now - seconds_ago - 60), exp=int(now - seconds_ago)
        )

    def profile(self, token: str) -> httpx.Response:
        return self.client.get("/api/v1/user/profile", headers={"Authorization": f"Bearer {token}"})

    def refresh(self, token: str) -> httpx.Response:
        return self.client.post("/api/v1/auth/refresh", headers={"Authorization": f"Bearer {token}"})


def code_of(response: httpx.Response, status: int = 401) -> str:
    assert response.status_code == status, response.text
    return str(response.json()["error"]["code"])


@pytest.fixture(scope="module", params=ALGORITHMS)
def realm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    realm = Realm(tmp_path_factory.mktemp(request.param), request.param)
    with realm.client:
        yield realm
    assert realm.server.stop() == 0
    assert realm.server.errors() == []


@pytest.fixture
def token(realm: Realm) -> str:
    return realm.sign_in(realm.new_user())


def test_a_token_opens_its_users_profile(realm: Realm) -> None:
    """The profile is that of the token's user."""
    user = realm.new_user()
    profile = realm.profile(realm.sign_in(user)).json()
    assert (profile["id"], profile["email"], profile["role"]) == (user.id, user.email, "user")


def test_an_expired_token_is_exchanged_once(realm: Realm, token: str) -> None:
    """As the reference shows: the expired token is refused elsewhere, exchanged for a new one, which works."""
    old = realm.expired(token, 5)
    assert code_of(realm.profile(old)) == "token_expired"
    answer = realm.refresh(old)
    assert answer.status_code == 200
    body = answer.json()
    assert body["token_type"] == "bearer"
    assert 0 < body["expires_in"] <= 3600
    assert datetime.fromisoformat(body["expires_at"]) > datetime.now(UTC)
    assert answer.headers["cache-control"] == "no-store"
    assert realm.profile(body["access_token"]).status_code == 200


def test_a_replayed_refresh_ends_the_whole_family(realm: Realm, token: str) -> None:
    """A token that was exchanged before is refused, and so is the one that it was exchanged for."""
    successor = realm.refresh(token).json()["access_token"]
    assert code_of(realm.refresh(token)) == "token_reused"
    assert code_of(realm.profile(successor)) == "session_ended"
    assert code_of(realm.refresh(successor)) == "session_ended"


def test_refresh_after_the_grace_is_refused(realm: Realm, token: str) -> None:
    """A token that expired longer ago than the grace can't be exchanged."""
    assert code_of(realm.refresh(realm.expired(token, GRACE_SECONDS + 60))) == "token_expired"


def test_refresh_after_sign_out_is_refused(realm: Realm, token: str) -> None:
    """Signing out ends the session: token and exchange are refused at once."""
    signed_out = realm.client.post("/api/v1/auth/logout", headers={"Authorization": f"Bearer {token}"})
    assert signed_out.json() == {"status": "signed_out"}
    assert code_of(realm.profile(token)) == "session_ended"
    assert code_of(realm.refresh(token)) == "session_ended"


def test_sign_out_everywhere_ends_all_sessions(realm: Realm) -> None:
    """All tokens of the user are refused from then on; a new session works."""
    user = realm.new_user()
    tokens = [realm.sign_in(user) for _ in range(3)]
    headers = {"Authorization": f"Bearer {tokens[0]}"}
    assert realm.client.post("/api/v1/auth/logout-everywhere", headers=headers).status_code == 200
    for old in tokens:
        assert code_of(realm.profile(old)) == "session_ended"
        assert code_of(realm.refresh(old)) == "session_ended"
    assert realm.profile(realm.sign_in(user)).status_code == 200


def test_a_disabled_user_is_refused_everywhere(realm: Realm) -> None:
    """Disabling from outside counts within a second: token, exchange and key."""
    user = realm.new_user()
    token = realm.sign_in(user)
    key = realm.run(lambda _, people: people.keys.create(user.id, "k", ("read",))).secret
    assert realm.profile(token).status_code == realm.profile(key).status_code == 200
    realm.run(lambda store, _: store.users.update(user.id, UserChanges(disabled=True)))
    time.sleep(1)
    assert {code_of(realm.profile(token)), code_of(realm.profile(key)), code_of(realm.refresh(token))} == {
        "account_disabled"
    }


def segments(token: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    header, payload, signature = token.split(".")
    return _decoded(header), _decoded(payload), signature


def _decoded(segment: str) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    return decoded


def _encoded(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def none_algorithm(realm: Realm, token: str) -> str:
    header, payload, _ = segments(token)
    return f"{_encoded(header | {'alg': 'none'})}.{_encoded(payload)}."


def edited_payload(realm: Realm, token: str) -> str:
    header, payload, signature = segments(token)
    return f"{_encoded(header)}.{_encoded(payload | {'sub': 'user_admin'})}.{signature}"


def symmetric_with_the_public_key(realm: Realm, token: str) -> str:
    header, payload, _ = segments(token)
    key = realm.keyring.signing
    if key.algorithm == "HS256":
        secret = b"guessed-secret-of-sufficient-length!"
    else:
        secret = key.public.public_bytes(Encoding.Raw, PublicFormat.Raw) if key.algorithm == "EdDSA" else b"n" * 64
    return jwt.encode(payload, secret, algorithm="HS256", headers={"kid": header["kid"]})


def kid(value: Any) -> Callable[[Realm, str], str]:
    def change(realm: Realm, token: str) -> str:
        header, payload, signature = segments(token)
        changed = {name: item for name, item in (header | {"kid": value}).items() if item is not None}
        return f"{_encoded(changed)}.{_encoded(payload)}.{signature}"

    return change


def claims(**changes: Any) -> Callable[[Realm, str], str]:
    return lambda realm, token: realm.forge(token, **changes)


FORGERIES: dict[str, Callable[[Realm, str], str]] = {
    "alg none": none_algorithm,
    "edited payload": edited_payload,
    "HS256 with the public key": symmetric_with_the_public_key,
    "kid path": kid("../../../../dev/null"),
    "kid SQL": kid("x' OR '1'='1"),
    "kid of a list": kid(["x"]),
    "no kid": kid(None),
    "another audience": claims(aud="another"),
    "no audience": claims(aud=None),
    "another issuer": claims(iss="another"),
    "no issuer": claims(iss=None),
    "not yet valid": claims(nbf=int(time.time()) + 3600),
    "issued in the future": claims(iat=int(time.time()) + 3600),
    "no expiry": claims(exp=None),
    "expiry of text": claims(exp="never"),
    "no session": claims(sid=None),
    "unknown session": claims(sid="sess_0"),
    "unknown user": claims(sub="user_0"),
    "no token id": claims(jti=None),
    "cut short": lambda _realm, token: token[:-8],
    "two parts": lambda _realm, token: token.rsplit(".", 1)[0],
    "not base64": lambda _realm, token: token.replace(".", ".!", 1),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_forged_tokens_are_refused(realm: Realm, token: str, forgery: str) -> None:
    """401 for use and for exchange, without a word of what the token said."""
    forged = FORGERIES[forgery](realm, token)
    for refused in (realm.profile(forged), realm.refresh(forged)):
        assert code_of(refused) in ("invalid_token", "invalid_api_key", "session_ended")
        assert forged not in refused.text
    assert realm.profile(token).status_code == 200


def test_another_users_session_does_not_fit(realm: Realm) -> None:
    """A token that names its own user and another's session is refused."""
    mine, theirs = realm.sign_in(realm.new_user()), realm.sign_in(realm.new_user())
    stolen = realm.forge(mine, sid=segments(theirs)[1]["sid"])
    assert code_of(realm.profile(stolen)) == "session_ended"


def test_the_public_keys_verify_tokens(realm: Realm, token: str) -> None:
    """With an asymmetric algorithm anyone can verify a token by the key set; HS256 publishes nothing."""
    keys = realm.client.get("/.well-known/jwks.json").json()["keys"]
    algorithm = realm.keyring.signing.algorithm
    if algorithm == "HS256":
        assert keys == []
        return
    (key,) = (jwt.PyJWK(key) for key in keys if key["kid"] == segments(token)[0]["kid"])
    assert "d" not in keys[0]
    decoded = jwt.decode(token, key, algorithms=[algorithm], audience="jan-server", issuer="jan-server")
    assert decoded["sub"].startswith("user_")


def test_keys_can_be_rotated(tmp_path: Path) -> None:
    """After a rotation new tokens carry the new key's id and old tokens are still good; the key files are
    readable to their owner only."""
    settings = load_settings(_config(tmp_path))
    keyring = make_keyring(settings)
    keyring.load()
    old = keyring.signing
    new_kid = keyring.rotate()
    again = make_keyring(settings)
    again.load()
    assert again.signing.kid == new_kid != old.kid
    assert again.find(old.kid) == old
    files = list((tmp_path / "data" / "signing-keys").iterdir())
    assert len(files) == 2
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in files)


def _config(folder: Path) -> Path:
    config = folder / "jan.yaml"
    config.write_text(f"{ECHO_CONFIG}\ndata: {folder}/data\n")
    return config


def test_secrets_hide_themselves(tmp_path: Path) -> None:
    """Neither key material nor tokens show in a repr."""
    keyring = make_keyring(load_settings(_config(tmp_path)))
    keyring.load()
    assert str(keyring.signing.private) not in repr(keyring.signing)

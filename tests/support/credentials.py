"""Credentials of every kind, made in a running server, each of a user of its own."""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import NamedTuple

from jan.auth.tokens import TokenSigner, TokenUse, new_jti
from jan.idempotency.ids import IdSource
from jan.people.keys import FROM_COMMAND_LINE
from jan.schema.scopes import ADMIN_SCOPES, USER_SCOPES, Identity, Scope
from jan.services import Services
from jan.storage.records import Role, User, UserChanges, now

_HOUR = timedelta(hours=1)
_ALL: tuple[Scope, ...] = ("read", "write", "inference", "keys", "admin")


class Kind(NamedTuple):
    """A kind of credential, and what follows from it.

    ``make`` gives the text after Bearer, None for no header. ``refusal``: the code of the 401 where a credential
    is needed; '' if it is accepted. ``scopes``: its permissions. ``is_none``: it counts as no credential.
    ``is_session``: it is a session's. ``proxied``: a proxy passed the request on. ``in_cookie``: a browser sends
    it as its cookie, for a page of the server, or for a ``foreign`` one.
    """

    make: Callable[[Services], Awaitable[str | None]]
    refusal: str = ""
    scopes: frozenset[Scope] = frozenset()
    is_none: bool = False
    is_session: bool = False
    proxied: bool = False
    in_cookie: bool = False
    foreign: bool = False

    def headers(self, credential: str | None, cookie: str, url: str) -> dict[str, str]:
        """The headers that carry a credential of this kind to a server with this URL and name of its cookie."""
        sent = {"Via": "1.1 proxy"} if self.proxied else {}
        if self.in_cookie:
            origin = "https://evil.example" if self.foreign else url
            return sent | {"Cookie": f"other=1; {cookie}={credential}", "Origin": origin}
        return sent | ({"Authorization": f"Bearer {credential}"} if credential else {})


async def _user(services: Services, role: Role = "admin") -> User:
    user = User(email=f"{secrets.token_hex(6)}@example.org", role=role)
    return await services.users.add(user, IdSource())


def _says(text: str | None) -> Callable[[Services], Awaitable[str | None]]:
    async def make(_services: Services) -> str | None:
        return text

    return make


def _key(*scopes: Scope, role: Role = "admin") -> Callable[[Services], Awaitable[str | None]]:
    async def make(services: Services) -> str | None:
        user = await _user(services, role)
        return (await services.keys.create(user.id, "key", scopes)).secret

    return make


async def _expired_key(services: Services) -> str:
    user = await _user(services)
    return (await services.keys.create(user.id, "key", _ALL, now() - _HOUR)).secret


def _replaced(grace: timedelta) -> Callable[[Services], Awaitable[str | None]]:
    async def make(services: Services) -> str | None:
        made = await services.keys.create((await _user(services)).id, "key", _ALL)
        await services.keys.rotate(made.record, grace, FROM_COMMAND_LINE, IdSource())
        return made.secret

    return make


async def _revoked(services: Services) -> str:
    user = await _user(services)
    made = await services.keys.create(user.id, "key", _ALL)
    await services.keys.revoke(user.id, made.record.id)
    return made.secret


async def _disabled_key(services: Services) -> str:
    user = await _user(services)
    made = await services.keys.create(user.id, "key", _ALL)
    await services.users.update(user.id, UserChanges(disabled=True))
    return made.secret


async def _former_administrators_key(services: Services) -> str:
    user = await _user(services)
    made = await services.keys.create(user.id, "key", _ALL)
    await services.users.update(user.id, UserChanges(role="user"))
    return made.secret


async def _deleted_key(services: Services) -> str:
    user = await _user(services)
    made = await services.keys.create(user.id, "key", _ALL)
    await services.deletion.delete(user.id)
    return made.secret


def _session(role: Role = "user", use: TokenUse = "bearer") -> Callable[[Services], Awaitable[str | None]]:
    async def make(services: Services) -> str | None:
        return (await services.sessions.sign_in(await _user(services, role), use=use)).token

    return make


async def _ended_session(services: Services) -> str:
    user = await _user(services)
    token = (await services.sessions.sign_in(user)).token
    await services.sessions.sign_out(Identity(owner=user.id, user_id=user.id), everywhere=True)
    return token


async def _disabled_session(services: Services) -> str:
    user = await _user(services)
    token = (await services.sessions.sign_in(user)).token
    await services.users.update(user.id, UserChanges(disabled=True))
    return token


async def _deleted_session(services: Services) -> str:
    user = await _user(services)
    token = (await services.sessions.sign_in(user)).token
    await services.deletion.delete(user.id)
    return token


def _key_in_cookie(*scopes: Scope, revoked: bool = False) -> Callable[[Services], Awaitable[str | None]]:
    async def make(services: Services) -> str | None:
        made = await services.keys.create((await _user(services)).id, "key", scopes)
        token = (await services.browsers.exchange(made.secret, "")).token
        if revoked:
            await services.keys.revoke(made.record.user_id, made.record.id)
        return token

    return make


async def _left_cookie(services: Services) -> str:
    token = str(await _session("admin", "cookie")(services))
    await services.browsers.leave(token)
    return token


async def _old_cookie(services: Services) -> str:
    """The token of a cookie whose session has ended by itself."""
    user, at = await _user(services), now() - 24 * 365 * _HOUR
    signer = _signer(services, _HOUR)
    return signer.sign(user_id=user.id, session_id="session_0", jti=new_jti(), at=at, use="cookie")[0]


def _signer(services: Services, lifetime: timedelta) -> TokenSigner:
    auth = services.settings.auth
    return TokenSigner(
        services.keyring, issuer=auth.issuer, audience=auth.audience, lifetime=lifetime, leeway=timedelta(0)
    )


async def _old_token(services: Services) -> str:
    """A token of a session that nobody knows, and which has expired long ago."""
    signer, at = _signer(services, _HOUR), now() - 24 * 365 * _HOUR
    return signer.sign(user_id=(await _user(services)).id, session_id="session_0", jti=new_jti(), at=at)[0]


async def _foreign_token(services: Services) -> str:
    """A token that is signed by this server for a session that does not exist."""
    user = await _user(services)
    return _signer(services, _HOUR).sign(user_id=user.id, session_id="session_0", jti=new_jti(), at=now())[0]


async def _changed_token(services: Services) -> str:
    """A good token whose signature is another one's."""
    make = _session("admin")
    head, claims, _ = str(await make(services)).split(".")
    return f"{head}.{claims}.{str(await make(services)).split('.')[2]}"


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "none": Kind(_says(None), "missing_credentials", is_none=True),
        "none, through a proxy": Kind(_says(None), "missing_credentials", is_none=True, proxied=True),
        "placeholder": Kind(_says("not-needed"), "invalid_api_key", is_none=True),
        "placeholder, through a proxy": Kind(_says("x"), "invalid_api_key", is_none=True, proxied=True),
        "unknown key": Kind(_says(f"jan_{'x' * 43}"), "invalid_api_key"),
        "expired key": Kind(_expired_key, "invalid_api_key"),
        "replaced key, in its grace": Kind(_replaced(_HOUR), scopes=ADMIN_SCOPES),
        "replaced key, after its grace": Kind(_replaced(timedelta(0)), "invalid_api_key"),
        "revoked key": Kind(_revoked, "invalid_api_key"),
        **{f"key with {scope}": Kind(_key(scope), scopes=frozenset([scope])) for scope in _ALL},
        "user's key with admin": Kind(_key("admin", role="user")),
        "former administrator's key": Kind(_former_administrators_key, scopes=USER_SCOPES),
        "disabled user's key": Kind(_disabled_key, "account_disabled"),
        "deleted user's key": Kind(_deleted_key, "invalid_api_key"),
        "user's key": Kind(_key(*_ALL, role="user"), scopes=USER_SCOPES),
        "administrator's key": Kind(_key(*_ALL), scopes=ADMIN_SCOPES),
        "user's session": Kind(_session(), scopes=USER_SCOPES, is_session=True),
        "administrator's session": Kind(_session("admin"), scopes=ADMIN_SCOPES, is_session=True),
        "disabled user's session": Kind(_disabled_session, "account_disabled"),
        "deleted user's session": Kind(_deleted_session, "invalid_api_key"),
        "ended session": Kind(_ended_session, "session_ended"),
        "token of no session": Kind(_foreign_token, "session_ended"),
        "expired token": Kind(_old_token, "token_expired"),
        "token for exchange": Kind(_session("admin", "exchange"), "token_expired"),
        "token with another signature": Kind(_changed_token, "invalid_token"),
        "text in a token's form": Kind(_says("a.b.c"), "invalid_token"),
        "token of a cookie": Kind(_session("admin", "cookie"), "invalid_token"),
        "user's cookie": Kind(_session(use="cookie"), scopes=USER_SCOPES, is_session=True, in_cookie=True),
        "administrator's cookie": Kind(
            _session("admin", "cookie"), scopes=ADMIN_SCOPES, is_session=True, in_cookie=True
        ),
        "another site's cookie": Kind(_session("admin", "cookie"), in_cookie=True, foreign=True),
        "cookie of a key": Kind(
            _key_in_cookie("read", "keys"), scopes=frozenset({"read", "keys"}), in_cookie=True
        ),
        "cookie of a revoked key": Kind(_key_in_cookie(*_ALL, revoked=True), "invalid_api_key", in_cookie=True),
        "cookie of an ended session": Kind(_left_cookie, "session_ended", in_cookie=True),
        "expired cookie": Kind(_old_cookie, "session_ended", in_cookie=True),
        "rubbish in a cookie": Kind(_says("rubbish"), "invalid_token", in_cookie=True),
    }
)

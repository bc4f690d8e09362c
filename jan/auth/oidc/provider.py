"""Talks to the provider: fetches what it publishes, and exchanges codes for tokens.

Every answer is limited in time and size, decoded into a type, and trusted only after it was checked.
"""

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import quote_plus

import msgspec
import structlog
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.httputil import HTTPInputError

from jan.auth.oidc.claims import usable_claims
from jan.auth.oidc.flow import Flow
from jan.auth.oidc.provider_urls import may_name
from jan.auth.oidc.refusal import ProviderRefused
from jan.errors import AuthenticationFailed, Unavailable
from jan.settings.sign_in import SignInSettings

if TYPE_CHECKING:
    from jan.auth.oidc.authorization import Authorization

log = structlog.get_logger(__name__)

T = TypeVar("T")

_KEPT_SECONDS = 3600.0
_LARGEST_ANSWER = 512 * 1024


class Metadata(msgspec.Struct, frozen=True):
    """The fields of the discovery document that are used."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class KeySet(msgspec.Struct, frozen=True):
    """The public keys of the provider."""

    keys: tuple[dict[str, Any], ...]


class TokenAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The fields of the token endpoint's answer that are used, for success and for failure."""

    access_token: str | None = None
    token_type: str | None = None
    id_token: str | None = None
    error: str | None = None

    def __repr__(self) -> str:
        return f"TokenAnswer(error={self.error!r})"


class UserInfo(msgspec.Struct, frozen=True):
    """The fields of the userinfo endpoint's answer that are used."""

    sub: str
    email: str | None = None
    email_verified: bool = False
    name: str | None = None


class Fetched(Generic[T]):
    """A document that is fetched on demand and then cached. Concurrent callers share one fetch."""

    def __init__(self, fetch: Callable[[], Awaitable[T]]) -> None:
        self._fetch = fetch
        self._fetching: asyncio.Task[T] | None = None
        self._value: T | None = None
        self._fetched = 0.0

    async def get(self, *, refresh: bool = False) -> T:
        """Return the document. Raises the error of fetching it."""
        if self._value is not None and not refresh and time.monotonic() - self._fetched < _KEPT_SECONDS:
            return self._value
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._refresh())
            self._fetching.add_done_callback(self._done)
        return await asyncio.shield(self._fetching)

    async def _refresh(self) -> T:
        self._value = await self._fetch()
        self._fetched = time.monotonic()
        return self._value

    def _done(self, task: "asyncio.Task[T]") -> None:
        self._fetching = None
        if not task.cancelled():
            task.exception()  # mark the error as seen, even if all callers were cancelled


class Provider:
    """One provider, found by its issuer URL. Every call raises Unavailable if it gives no sensible answer."""

    def __init__(self, settings: SignInSettings) -> None:
        self._settings = settings
        self._metadata = Fetched(self._discover)
        self._keys = Fetched(self._fetch_keys)

    async def metadata(self) -> Metadata:
        """Return the discovery document, at most an hour old."""
        return await self._metadata.get()

    async def keys(self, *, refresh: bool = False) -> KeySet:
        """Return the provider's keys, at most an hour old; ``refresh`` fetches them now."""
        return await self._keys.get(refresh=refresh)

    async def _discover(self) -> Metadata:
        url = f"{self._settings.issuer.rstrip('/')}/.well-known/openid-configuration"
        found = await self._fetch(url, Metadata)
        # Otherwise the document of another provider, perhaps on the same host, would be accepted.
        if found.issuer != self._settings.issuer:
            raise self._failed("Its discovery document belongs to another issuer.")
        used = (found.authorization_endpoint, found.token_endpoint, found.jwks_uri, found.userinfo_endpoint)
        if not all(may_name(found.issuer, url) for url in used if url is not None):
            raise self._failed("Its discovery document has a URL without TLS, or one of this server's network.")
        return found

    async def _fetch_keys(self) -> KeySet:
        return await self._fetch((await self.metadata()).jwks_uri, KeySet)

    async def redeem(self, authorization: "Authorization", flow: Flow, code: str) -> TokenAnswer:
        """Exchange a code for tokens. Raises AuthenticationFailed if the provider rejects it."""
        metadata = await self.metadata()
        basic = self._uses_basic(metadata)
        headers = {"Authorization": self._basic()} if basic else {}
        secret = None if basic else self._settings.client_secret or None
        body = authorization.token_request(flow, code, secret)
        accept = (200, 400, 401)
        answer = await self._fetch(metadata.token_endpoint, TokenAnswer, body=body, headers=headers, accept=accept)
        try:
            # Pass on only the decoded fields: oauthlib fails on fields of unexpected types.
            authorization.check_token_answer(msgspec.json.encode(answer))
        except ProviderRefused as error:
            raise self._refusal(error) from None
        return answer

    def _refusal(self, error: ProviderRefused) -> AuthenticationFailed | Unavailable:
        if error.name == "invalid_grant":
            return AuthenticationFailed(
                "The provider does not accept this sign-in any more. Begin again.", code="invalid_grant"
            )
        # Probably the client id or secret is configured wrongly, which the person signing in can't change.
        return self._failed(f"It refused this server: {error.name}.")

    def _uses_basic(self, metadata: Metadata) -> bool:
        chosen = self._settings.client_authentication
        offered = "client_secret_basic" in metadata.token_endpoint_auth_methods_supported
        return self._settings.client_secret != "" and (chosen == "basic" or (chosen == "auto" and offered))

    def _basic(self) -> str:
        # Each half is form-encoded first (RFC 6749, section 2.3.1).
        pair = f"{quote_plus(self._settings.client_id)}:{quote_plus(self._settings.client_secret)}"
        return "Basic " + base64.b64encode(pair.encode()).decode()

    async def userinfo(self, access_token: str) -> UserInfo | None:
        """Fetch the claims that the provider leaves out of its ID tokens; None if it has no such endpoint."""
        url = (await self.metadata()).userinfo_endpoint
        if url is None:
            return None
        return await self._fetch(url, UserInfo, headers={"Authorization": f"Bearer {access_token}"})

    # --- the network --------------------------------------------------------------------------------

    async def _fetch(
        self,
        url: str,
        kind: type[T],
        *,
        body: str | None = None,
        headers: dict[str, str] | None = None,
        accept: tuple[int, ...] = (200,),
    ) -> T:
        """Return the object that a URL of the provider answers. Raises Unavailable."""
        request = HTTPRequest(
            url,
            method="GET" if body is None else "POST",
            body=body,
            headers={
                "Accept": "application/json",
                **({} if body is None else {"Content-Type": "application/x-www-form-urlencoded"}),
                **(headers or {}),
            },
            connect_timeout=self._settings.timeout_seconds,
            request_timeout=self._settings.timeout_seconds,
            # Redirects could send a secret elsewhere, and compression could make a small answer large.
            follow_redirects=False,
            decompress_response=False,
        )
        client = AsyncHTTPClient(force_instance=True, max_body_size=_LARGEST_ANSWER)
        try:
            response = await client.fetch(request, raise_error=False)
        except (HTTPClientError, HTTPInputError, OSError, ValueError) as error:
            # Name only the kind of failure: its message might quote what was sent.
            raise self._unusable(url, type(error).__name__) from None
        finally:
            client.close()
        if response.code not in accept:
            raise self._unusable(url, f"status {response.code}")
        try:
            return _decode(response.body, kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise self._unusable(url, "no JSON of the expected form") from None

    def _unusable(self, url: str, seen: str) -> Unavailable:
        """Log what came from a URL. Callers are not told, or they could try out addresses by this server."""
        log.warning("the sign-in provider gave no answer", issuer=self._settings.issuer, url=url, seen=seen)
        return self._error("It gave no usable answer; the server's log says more.")

    def _failed(self, reason: str) -> Unavailable:
        log.warning("the sign-in provider failed", issuer=self._settings.issuer, reason=reason)
        return self._error(reason)

    def _error(self, reason: str) -> Unavailable:
        return Unavailable(
            f"The sign-in provider {self._settings.issuer} can't be used now. {reason}",
            code="sign_in_provider_failed",
        )


def _decode(raw: bytes, kind: type[T]) -> T:
    """Read an object of the provider's. A null counts as absent (OpenID Connect Core, section 5.3.2)."""
    return msgspec.convert(usable_claims(msgspec.json.decode(raw, type=dict[str, Any])), kind)

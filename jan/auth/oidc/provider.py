"""The provider over the network: what it publishes, and codes exchanged for tokens. All answers are bounded
in time and size, typed, and believed only as far as they are checked."""

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

from jan.auth.oidc.flow import Flow
from jan.errors import AuthenticationFailed, Unavailable
from jan.settings.addresses import is_safe_url
from jan.settings.sign_in import SignInSettings

if TYPE_CHECKING:
    from jan.auth.oidc.authorization import Authorization

log = structlog.get_logger(__name__)

T = TypeVar("T")

_KEPT_SECONDS = 3600.0
_LARGEST_ANSWER = 512 * 1024


class Metadata(msgspec.Struct, frozen=True):
    """The discovery document, as far as it is used."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class KeySet(msgspec.Struct, frozen=True):
    """The provider's public keys."""

    keys: tuple[dict[str, Any], ...]


class TokenAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the token endpoint says, good or bad, as far as it is used."""

    access_token: str | None = None
    token_type: str | None = None
    id_token: str | None = None
    error: str | None = None

    def __repr__(self) -> str:
        return f"TokenAnswer(error={self.error!r})"


class UserInfo(msgspec.Struct, frozen=True):
    """What the userinfo endpoint says, as far as it is used."""

    sub: str
    email: str | None = None
    email_verified: bool = False
    name: str | None = None


class ProviderRefused(Exception):
    """The provider answered with an error of this name, which looks like one."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Fetched(Generic[T]):
    """A document that is fetched when it is needed and then kept; those who come meanwhile wait together."""

    def __init__(self, fetch: Callable[[], Awaitable[T]]) -> None:
        self._fetch = fetch
        self._fetching: asyncio.Task[T] | None = None
        self._value: T | None = None
        self._fetched = 0.0

    async def get(self, *, anew: bool = False) -> T:
        """The document, or what became of fetching it."""
        if self._value is not None and not anew and time.monotonic() - self._fetched < _KEPT_SECONDS:
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
            task.exception()  # seen, also when all who waited have left


class Provider:
    """One provider, found by its issuer URL. Everything raises Unavailable if it does not answer sensibly."""

    def __init__(self, settings: SignInSettings) -> None:
        self._settings = settings
        self._metadata = Fetched(self._discover)
        self._keys = Fetched(self._fetch_keys)

    async def metadata(self) -> Metadata:
        """The discovery document, at most an hour old."""
        return await self._metadata.get()

    async def keys(self, *, anew: bool = False) -> KeySet:
        """The provider's keys, at most an hour old, or fetched now."""
        return await self._keys.get(anew=anew)

    async def _discover(self) -> Metadata:
        url = f"{self._settings.issuer.rstrip('/')}/.well-known/openid-configuration"
        found = self._decode(await self._fetch(url), Metadata)
        # Else a document of another provider, on the same host perhaps, would be taken for this one's.
        if found.issuer != self._settings.issuer:
            raise self._failed("its discovery document is another issuer's")
        used = (found.authorization_endpoint, found.token_endpoint, found.jwks_uri, found.userinfo_endpoint)
        if not all(is_safe_url(url) for url in used if url is not None):
            raise self._failed("its discovery document names an URL without TLS")
        return found

    async def _fetch_keys(self) -> KeySet:
        return self._decode(await self._fetch((await self.metadata()).jwks_uri), KeySet)

    async def redeem(self, authorization: "Authorization", flow: Flow, code: str) -> TokenAnswer:
        """Exchange a code; raises AuthenticationFailed if the provider does not accept it."""
        metadata = await self.metadata()
        basic = self._uses_basic(metadata)
        headers = {"Authorization": self._basic()} if basic else {}
        secret = None if basic else self._settings.client_secret or None
        body = authorization.token_request(flow, code, secret)
        raw = await self._fetch(metadata.token_endpoint, body=body, headers=headers, accept=(200, 400, 401))
        answer = self._decode(raw, TokenAnswer)
        try:
            # Only what was decoded: oauthlib trips over fields of unexpected types.
            authorization.check_token_answer(msgspec.json.encode(answer))
        except ProviderRefused as error:
            raise self._refusal(error) from None
        return answer

    def _refusal(self, error: ProviderRefused) -> AuthenticationFailed | Unavailable:
        if error.name == "invalid_grant":
            return AuthenticationFailed(
                "the provider does not accept this sign-in any more; begin again", code="invalid_grant"
            )
        # Most likely the client id or secret is wrong here, which the person who signs in can't mend.
        return self._failed(f"it refused this server: {error.name}")

    def _uses_basic(self, metadata: Metadata) -> bool:
        chosen = self._settings.client_authentication
        offered = "client_secret_basic" in metadata.token_endpoint_auth_methods_supported
        return self._settings.client_secret != "" and (chosen == "basic" or (chosen == "auto" and offered))

    def _basic(self) -> str:
        # Each half is form-encoded first: RFC 6749, section 2.3.1.
        pair = f"{quote_plus(self._settings.client_id)}:{quote_plus(self._settings.client_secret)}"
        return "Basic " + base64.b64encode(pair.encode()).decode()

    async def userinfo(self, access_token: str) -> UserInfo | None:
        """The claims that the provider does not put into its ID tokens; None if it has no such endpoint."""
        url = (await self.metadata()).userinfo_endpoint
        if url is None:
            return None
        return self._decode(await self._fetch(url, headers={"Authorization": f"Bearer {access_token}"}), UserInfo)

    # --- the network --------------------------------------------------------------------------------

    async def _fetch(
        self,
        url: str,
        *,
        body: str | None = None,
        headers: dict[str, str] | None = None,
        accept: tuple[int, ...] = (200,),
    ) -> bytes:
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
            # Neither a secret nor a question goes to where an answer points; and no small answer grows large.
            follow_redirects=False,
            decompress_response=False,
        )
        client = AsyncHTTPClient(force_instance=True, max_body_size=_LARGEST_ANSWER)
        try:
            response = await client.fetch(request, raise_error=False)
        except (HTTPClientError, HTTPInputError, OSError, ValueError) as error:
            # The kind of failure only: a message might quote what was sent.
            raise self._failed(f"no answer from {url}: {type(error).__name__}") from None
        finally:
            client.close()
        if response.code not in accept:
            raise self._failed(f"{url} answered {response.code}")
        return response.body

    def _decode(self, raw: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(raw, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise self._failed("its answer is not understood") from None

    def _failed(self, reason: str) -> Unavailable:
        log.warning("the sign-in provider failed", issuer=self._settings.issuer, reason=reason)
        return Unavailable(
            f"the sign-in provider {self._settings.issuer} can't be used now: {reason}",
            code="sign_in_provider_failed",
        )

"""Sign-in with an OpenID Connect provider: the browser goes there with a sealed flow and returns with a code.

The order is: fetch, check, write. Nothing is stored before the person is identified.
"""

import secrets
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from jan.audit.acts import Auditor
from jan.auth.devices import device_of
from jan.auth.keyring import Keyring
from jan.auth.oidc import id_token
from jan.auth.oidc.admission import Admission, Person
from jan.auth.oidc.flow import Flow, Flows, other_sign_in
from jan.auth.oidc.provider import Metadata, Provider, TokenAnswer
from jan.auth.oidc.refusal import ProviderRefused
from jan.auth.sessions import IssuedToken, Sessions
from jan.auth.tokens import TokenUse
from jan.errors import AuthenticationFailed, InvalidRequest, JanError, PermissionDenied, Unavailable
from jan.schema.email_address import ascii_lower, is_domain
from jan.schema.plain_text import cleaned
from jan.settings.addresses import is_loopback, is_own_path, is_safe_url
from jan.settings.sign_in import GOOGLE, SignInSettings
from jan.storage.records import OidcSubject
from jan.storage.repositories import Store

if TYPE_CHECKING:
    from jan.auth.oidc.authorization import Authorization

# Error codes of a provider that concern the person and not the set-up.
_PERSON_REFUSED = (
    "access_denied",
    "login_required",
    "consent_required",
    "interaction_required",
    "account_selection_required",
)


class Departure(msgspec.Struct, frozen=True):
    """The provider's URL for the browser, and the sealed flow that it must keep."""

    url: str
    sealed: str

    def __repr__(self) -> str:
        return "Departure(...)"


class Arrival(msgspec.Struct, frozen=True):
    """A person who has signed in. ``return_to`` is the requested page, if any."""

    issued: IssuedToken
    return_to: str | None


class SignIn:
    """Sign-in as configured. Raises Unavailable if it is not configured."""

    def __init__(
        self, settings: SignInSettings, keyring: Keyring, store: Store, sessions: Sessions, audit: Auditor
    ) -> None:
        self._settings = settings
        self._provider = Provider(settings)
        self._flows = Flows(keyring, settings.state_seconds)
        self._admission = Admission(settings, store, audit)
        self._sessions = sessions

    @property
    def secure(self) -> bool:
        """True if browsers reach this server over TLS."""
        return (self._settings.public_url or "").startswith("https:")

    @property
    def seconds(self) -> int:
        """Seconds for which a browser must keep a flow."""
        return self._settings.state_seconds

    async def begin(self, *, origin: str, path: str, return_to: str | None) -> Departure:
        """Begin a sign-in. ``origin``: base URL by which browsers reach this server; ``path``: the callback's."""
        self._check_configured()
        if return_to is not None and return_to not in self._settings.return_to:
            raise InvalidRequest(
                "return_to: Not an allowed page; allowed: the pages in sign_in.return_to of the configuration.",
                code="invalid_return_to",
                param="return_to",
            )
        base = self._public_url(origin)
        authorization = self._authorization()
        flow = Flow(
            state=secrets.token_urlsafe(32),
            nonce=secrets.token_urlsafe(32),
            verifier=authorization.new_verifier(),
            redirect_uri=base + path,
            return_to=base + return_to if return_to is not None and is_own_path(return_to) else return_to,
        )
        endpoint = (await self._provider.metadata()).authorization_endpoint
        return Departure(authorization.url(endpoint, flow, self._settings.scopes), self._flows.seal(flow))

    def _authorization(self) -> "Authorization":
        from jan.auth.oidc.authorization import Authorization

        return Authorization(self._settings.client_id)

    def _public_url(self, origin: str) -> str:
        """Return the URL where the provider sends the browser back to.

        The client's Host header is trusted only if it names the client's own machine. The cookie is stored under
        the name that the browser used, and the provider accepts only registered URLs.
        """
        if self._settings.public_url is not None:
            return self._settings.public_url.rstrip("/")
        parts = urlsplit(origin)
        if not (is_safe_url(origin) and is_loopback(parts.hostname or "") and not parts.path + parts.query):
            raise Unavailable(
                "Sign-in needs sign_in.public_url in the configuration: the URL that browsers use.",
                code="sign_in_not_configured",
            )
        return origin

    def _check_configured(self) -> None:
        if not self._settings.configured:
            raise Unavailable(
                "Sign-in is not configured on this server. Its administrator must set sign_in.client_id and "
                "sign_in.client_secret.",
                code="sign_in_not_configured",
            )

    def resume(self, state: str, sealed: str | None) -> Flow:
        """Return the flow that this browser began and that ``state`` answers. Raises InvalidRequest.

        The flow is then spent, even if the sign-in fails later. If ``state`` does not answer it, it stays usable.
        """
        self._check_configured()
        flow = self._flows.open(sealed)
        if not secrets.compare_digest(state.encode(), flow.state.encode()):
            raise other_sign_in()
        self._flows.spend(flow)
        return flow

    async def finish(self, query: str, flow: Flow, *, use: TokenUse = "bearer", program: str = "") -> Arrival:
        """Turn the browser's callback into a session with a token for this ``use``, or for exchange if the sign-in
        has a page to return to. ``program`` is the User-Agent. Raises JanError if the sign-in fails."""
        authorization = self._authorization()
        code = _code(authorization, query, flow, await self._provider.metadata())
        answer = await self._provider.redeem(authorization, flow, code)
        person = await self._verify(answer, flow)
        user = await self._admission.admit(person)
        # The page gets a token that can only start a session; see ``Sessions.sign_in``.
        use = "exchange" if flow.return_to is not None else use
        issued = await self._sessions.sign_in(user, use=use, device=device_of(program))
        return Arrival(issued, flow.return_to)

    async def _verify(self, answer: TokenAnswer, flow: Flow) -> Person:
        """Verify the provider's answer and return the person it identifies."""
        token, access_token = answer.id_token or "", answer.access_token or ""
        header = id_token.header_of(token)
        key = id_token.find_key((await self._provider.keys()).keys, header)
        if key is None:  # the provider may have new keys
            key = id_token.find_key((await self._provider.keys(refresh=True)).keys, header)
        if key is None:
            raise AuthenticationFailed(
                "The provider's ID token was not accepted. It is signed with a key that is not published.",
                code="invalid_id_token",
            )
        claims = id_token.verify(
            token,
            key,
            issuers=_issuers(self._settings.issuer),
            client_id=self._settings.client_id,
            nonce=flow.nonce,
            access_token=access_token,
        )
        return self._person(await self._complete(claims, access_token))

    async def _complete(self, claims: id_token.IdTokenClaims, access_token: str) -> id_token.IdTokenClaims:
        """Return the claims. If they have no e-mail address, take it from the userinfo endpoint, as most must."""
        if claims.email is not None:
            return claims
        info = await self._provider.userinfo(access_token)
        if info is None or info.sub != claims.sub:
            return claims
        name = claims.name or info.name
        return msgspec.structs.replace(claims, email=info.email, email_verified=info.email_verified, name=name)

    def _person(self, claims: id_token.IdTokenClaims) -> Person:
        """Return the person of verified claims. Raises PermissionDenied for an unverified e-mail address."""
        email = ascii_lower(claims.email or "")
        if email and not claims.email_verified:
            raise PermissionDenied(
                "The provider has not verified this account's e-mail address. Verify it there and sign in again.",
                code="email_not_verified",
            )
        return Person(
            subject=OidcSubject(issuer=self._settings.issuer, subject=claims.sub),
            email=email,
            name=cleaned(claims.name or "").strip(),
            domain=_domain(self._settings.issuer, email, claims.hd),
        )


def _domain(issuer: str, email: str, hosted: str | None) -> str | None:
    """Return the domain that manages an address, or None.

    Anyone can open a personal Google account with an address at another domain, and keeps it after losing the
    address. Only ``hd`` says that the organisation controls the account. Gmail addresses are Google's own.
    """
    domain = email.rpartition("@")[2]
    if issuer == GOOGLE and domain != "gmail.com":
        domain = ascii_lower(hosted) if hosted is not None and is_domain(hosted) else ""
    return domain or None


def _issuers(issuer: str) -> list[str]:
    """Return the names of the provider in ID tokens. Google has two."""
    return [issuer, urlsplit(issuer).netloc] if issuer == GOOGLE else [issuer]


def _code(authorization: "Authorization", query: str, flow: Flow, metadata: Metadata) -> str:
    """Return the code in a callback's query."""
    try:
        answer = authorization.answer(query, flow)
    except ProviderRefused as error:
        raise _error_of(error) from None
    # RFC 9207: prevents passing off the answer of another provider.
    issuer = answer.get("iss")
    if issuer != metadata.issuer and (issuer or metadata.authorization_response_iss_parameter_supported):
        raise InvalidRequest("The answer came from another provider.", code="invalid_issuer", param="iss")
    return str(answer["code"])


def _error_of(error: ProviderRefused) -> JanError:
    """Make the error for a provider that sent an error instead of a code."""
    if error.name in _PERSON_REFUSED:
        return PermissionDenied("The sign-in was not completed at the provider. Try again.", code=error.name)
    return Unavailable(f"The sign-in provider answered {error.name}.", code="sign_in_provider_failed")

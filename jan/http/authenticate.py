"""Identifies callers from the headers that carry credentials, and checks what they may do."""

from collections.abc import Mapping
from typing import NamedTuple

from tornado.httputil import HTTPServerRequest

from jan.auth.credentials import check_scopes
from jan.errors import AuthenticationFailed
from jan.schema.scopes import Access, Identity
from jan.services import Services


class Shown(NamedTuple):
    """A credential of a request: the text, and whether a cookie had it."""

    text: str
    in_cookie: bool


async def identify(request: HTTPServerRequest, access: Access, services: Services) -> Identity:
    """Return the caller of an operation. Raises AuthenticationFailed if the operation needs a known caller and
    this one is not, and PermissionDenied for a cookie in a request of another site's page.

    ``check_access`` decides what a known caller may do.
    """
    if access.scope is None:
        return stranger(request, services)
    shown = shown_credential(request, services)
    if services.anonymous.admits(request, access) and not _counts(shown, services):
        services.origins.check_anonymous(request)
        return stranger(request, services)
    if shown is None:
        raise _unauthenticated(services.anonymous.hint(access))
    if shown.in_cookie:
        services.origins.check_own_page(request, secure=services.cookies.is_secure(request))
    return await services.credentials.identify(shown.text, in_cookie=shown.in_cookie)


def shown_credential(request: HTTPServerRequest, services: Services) -> Shown | None:
    """Return the credential that a request shows; None without one.

    One in a header wins over the cookie, which browsers send by themselves. Raises AuthenticationFailed where two
    differ.
    """
    if (credential := _credential(request)) is not None:
        return Shown(credential, in_cookie=False)
    token = services.cookies.read(request)
    return None if token is None else Shown(token, in_cookie=True)


def address_of(request: HTTPServerRequest, services: Services) -> str:
    """Return the address under which a request is counted, for limits and for the memory of bodies."""
    forwarded_for = request.headers.get("X-Forwarded-For", "")
    return f"ip:{services.proxies.client(request.remote_ip or '', forwarded_for)}"


def stranger(request: HTTPServerRequest, services: Services) -> Identity:
    """Return the identity of a caller known only by address."""
    return Identity(owner=address_of(request, services))


def _counts(shown: Shown | None, services: Services) -> bool:
    """Return True if a credential is meant for this server.

    Matters only where no credential is required: SDKs always send one, so a placeholder counts as none. Anything
    in the form of a key or a token is checked everywhere, so that a revoked one never becomes anonymous.
    """
    return shown is not None and (shown.in_cookie or services.credentials.recognises(shown.text))


def required_credential(request: HTTPServerRequest) -> str:
    """Return the token or API key in a request's headers. Raises AuthenticationFailed without one."""
    credential = _credential(request)
    if credential is None:
        raise _unauthenticated()
    return credential


def _credential(request: HTTPServerRequest) -> str | None:
    """Return the text after Bearer; else that of the headers of Anthropic's and Azure's clients; else None.

    Raises AuthenticationFailed for two different ones, because a guess could act for the wrong caller.
    """
    headers = request.headers
    scheme, _, credential = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and (bearer := credential.strip()):
        return bearer
    first, second = headers.get("X-Api-Key", "").strip(), headers.get("Api-Key", "").strip()
    if first and second and first != second:
        raise AuthenticationFailed(
            "The headers x-api-key and api-key have different credentials. Send one of them, or Authorization.",
            code="conflicting_credentials",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return first or second or None


def user_of(identity: Identity) -> str:
    """Return the caller's user id. Raises AuthenticationFailed for an anonymous caller."""
    if identity.user_id is None:
        raise _unauthenticated()
    return identity.user_id


def check_access(identity: Identity, access: Access, path: Mapping[str, str]) -> None:
    """Raise PermissionDenied for a known caller who lacks the operation's scope.

    ``path``: the parameters of the URL, which say if a key acts on itself.
    """
    itself = access.to_itself and identity.key_id is not None and identity.key_id == path.get("key_id")
    if access.scope is not None and not itself:
        check_scopes(identity, access.scope)


def _unauthenticated(hint: str = "") -> AuthenticationFailed:
    return AuthenticationFailed(
        f"This needs credentials. Send 'Authorization: Bearer <token or API key>', or the header x-api-key.{hint}",
        code="missing_credentials",
        headers={"WWW-Authenticate": "Bearer"},
    )

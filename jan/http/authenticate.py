"""Who calls, and whether they may: from the Authorization header to an identity, or a refusal."""

from tornado.httputil import HTTPServerRequest

from jan.errors import AuthenticationFailed, PermissionDenied
from jan.schema.scopes import Access, Identity, Scope
from jan.services import Services
from jan.settings import ANYONE
from jan.settings.addresses import host_of, is_loopback


async def identify(request: HTTPServerRequest, access: Access, services: Services) -> Identity:
    """Who calls an operation with this access; raises AuthenticationFailed where it takes a known caller and
    this one is not known. What a known one may do is ``check_access``'s."""
    admitted = _admits_anonymous(request, access, services) and not _has_credential(request, services)
    if access.scope is None or admitted:
        if access.scope is not None:
            services.origins.check_anonymous(request)
        return stranger(request, services)
    return await services.credentials.identify(required_credential(request))


def address_of(request: HTTPServerRequest, services: Services) -> str:
    """What a request's address is called where it counts: for limits, and for what bodies take."""
    forwarded_for = request.headers.get("X-Forwarded-For", "")
    return f"ip:{services.proxies.client(request.remote_ip or '', forwarded_for)}"


def stranger(request: HTTPServerRequest, services: Services) -> Identity:
    """Somebody of whom only the address is known."""
    return Identity(owner=address_of(request, services))


def _admits_anonymous(request: HTTPServerRequest, access: Access, services: Services) -> bool:
    if not access.anonymous:
        return False
    if services.settings.access.anonymous == ANYONE:
        return not access.loopback
    return services.settings.access.anonymous == "on-loopback" and _is_from_here(request)


def _is_from_here(request: HTTPServerRequest) -> bool:
    """Whether a request to a server on loopback is this machine's own: what came through a proxy has the proxy's
    address, but is for another name, or the proxy says for whom it is."""
    forwarded = "X-Forwarded-For" in request.headers or "Forwarded" in request.headers
    return not forwarded and is_loopback(host_of(f"//{request.host}").removesuffix("."))


def _has_credential(request: HTTPServerRequest, services: Services) -> bool:
    """Whether the request carries something meant as a credential of this server. Asked only where nobody
    needs one: SDKs can't leave it out, so their placeholder there is as good as nothing. What is formed like a
    key or a token is judged everywhere, so that a revoked one never turns anonymous."""
    credential = _credential(request)
    return credential is not None and services.credentials.recognises(credential)


def required_credential(request: HTTPServerRequest) -> str:
    """The token or API key of the Authorization header; raises AuthenticationFailed without one."""
    credential = _credential(request)
    if credential is None:
        raise _unauthenticated()
    return credential


def _credential(request: HTTPServerRequest) -> str | None:
    """What stands behind Bearer; None where there is no such header."""
    scheme, _, credential = request.headers.get("Authorization", "").partition(" ")
    return credential.strip() or None if scheme.lower() == "bearer" else None


def user_of(identity: Identity) -> str:
    """The caller's user id; raises AuthenticationFailed for an anonymous one."""
    if identity.user_id is None:
        raise _unauthenticated()
    return identity.user_id


def check_access(identity: Identity, access: Access) -> None:
    """Raises PermissionDenied for a known caller who lacks the operation's scope."""
    if access.scope is not None:
        check_scopes(identity, access.scope)


def check_scopes(identity: Identity, *scopes: Scope) -> None:
    """Raises PermissionDenied for a caller who lacks one of the scopes."""
    for scope in scopes:
        if scope not in identity.scopes:
            has = ", ".join(sorted(identity.scopes)) or "none"
            raise PermissionDenied(f"this needs the permission '{scope}'; these credentials have: {has}")


def _unauthenticated() -> AuthenticationFailed:
    return AuthenticationFailed(
        "this needs credentials; send 'Authorization: Bearer <token or API key>'",
        code="missing_credentials",
        headers={"WWW-Authenticate": "Bearer"},
    )

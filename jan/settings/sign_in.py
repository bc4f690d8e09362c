"""The settings' section ``sign_in``: whom to trust about who somebody is, and who may come in."""

from typing import Annotated, Literal

import msgspec

from jan.settings.addresses import host_of, is_loopback, is_own_path, is_safe_url

GOOGLE = "https://accounts.google.com"
ANYBODY = "*"


class SignInSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sign-in with an OpenID Connect provider: Google unless ``issuer`` says otherwise, off without
    ``client_id``.

    ``client_authentication``: how the secret goes to the provider. ``public_url``: where browsers reach this
    server; none: by the loopback name that they used. ``allowed_domains``, ``allowed_emails``: who may come
    in, '*' is anyone; both empty: whoever has an account. ``admins``: e-mail addresses of administrators, who
    may come in too. ``create_users``: make an account for those allowed who have none. ``return_to``: the
    pages, paths here or URLs, that a sign-in may end on. ``state_seconds``: how long one may take."""

    issuer: str = GOOGLE
    client_id: str = ""
    client_secret: str = ""
    client_authentication: Literal["auto", "basic", "post"] = "auto"
    public_url: str | None = None
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    allowed_domains: tuple[str, ...] = ()
    allowed_emails: tuple[str, ...] = ()
    admins: tuple[str, ...] = ()
    create_users: bool = True
    return_to: tuple[str, ...] = ()
    state_seconds: Annotated[int, msgspec.Meta(ge=1, le=3600)] = 600
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=60)] = 10.0

    def __post_init__(self) -> None:
        if not _is_base(self.issuer):
            raise ValueError(f"issuer {self.issuer!r} must be an https:// URL, or http:// on loopback")
        if self.public_url is not None and not _is_base(self.public_url):
            raise ValueError(f"public_url {self.public_url!r} must be an https:// URL, or http:// on loopback")
        for page in self.return_to:
            if "#" in page or not (is_safe_url(page) or is_own_path(page)):
                raise ValueError(f"return_to {page!r} must be a path on this server or an https:// URL, without #")
        if "openid" not in self.scopes:
            raise ValueError("scopes must have 'openid', without which providers do not say who somebody is")

    def __repr__(self) -> str:
        return f"SignInSettings(issuer={self.issuer!r})"  # without the secret

    @property
    def configured(self) -> bool:
        """Whether people can sign in this way."""
        return self.client_id != ""

    @property
    def admits_anybody(self) -> bool:
        """Whether nobody is kept out by address."""
        return ANYBODY in self.allowed_domains or ANYBODY in self.allowed_emails

    def mistake(self, host: str) -> str | None:
        """What would be an oversight on a server that listens on ``host`` and may be open to a network."""
        if not self.configured:
            return None
        if self.public_url is None and not is_loopback(host):
            return (
                f"public_url: needed, because server.host {host} is not loopback; the URL that browsers use, "
                "like https://jan.example.com"
            )
        exposed = not is_loopback(host) or (
            self.public_url is not None and not is_loopback(host_of(self.public_url))
        )
        if exposed and self.create_users and not (self.allowed_domains or self.allowed_emails):
            return (
                f"create_users: would give an account to everyone whom {self.issuer} knows; name "
                "allowed_domains or allowed_emails ('*' for anyone), or set create_users: false"
            )
        return None


def _is_base(url: str) -> bool:
    return is_safe_url(url) and "?" not in url and "#" not in url

"""Settings of sign-in with an OpenID Connect provider: which provider to trust, and who is admitted."""

from typing import Annotated, Literal

import msgspec

from jan.schema.email_address import DOMAIN_OR_ANY, EMAIL, EMAIL_OR_ANY
from jan.settings.addresses import host_of, is_loopback, is_own_path, is_safe_url

GOOGLE = "https://accounts.google.com"
ANYBODY = "*"
_SAFE = "an https:// URL, or http:// on loopback"


class SignInSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sign-in with an OpenID Connect provider, off without ``client_id``.

    - ``issuer``: the provider; default: Google.
    - ``client_secret_file``: a file with the secret, instead of the secret.
    - ``client_authentication``: how the secret is sent to the provider.
    - ``public_url``: where browsers reach this server. Default: the loopback name that they used.
    - ``allowed_domains``, ``allowed_emails``: who is admitted; '*' means anyone. If both are empty, only people
      who have an account.
    - ``admins``: e-mail addresses of administrators, who are also admitted.
    - ``create_users``: create an account for admitted people who have none.
    - ``return_to``: pages where a sign-in may end, as paths on this server or as URLs.
    - ``state_seconds``: how long a sign-in may take.
    """

    issuer: str = GOOGLE
    client_id: str = ""
    client_secret: str = ""
    client_secret_file: str | None = None
    client_authentication: Literal["auto", "basic", "post"] = "auto"
    public_url: str | None = None
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    allowed_domains: tuple[Annotated[str, msgspec.Meta(pattern=DOMAIN_OR_ANY)], ...] = ()
    allowed_emails: tuple[Annotated[str, msgspec.Meta(pattern=EMAIL_OR_ANY)], ...] = ()
    admins: tuple[Annotated[str, msgspec.Meta(pattern=EMAIL)], ...] = ()
    create_users: bool = True
    return_to: tuple[str, ...] = ()
    state_seconds: Annotated[int, msgspec.Meta(ge=1, le=3600)] = 600
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=60)] = 10.0

    def __post_init__(self) -> None:
        if not _is_base(self.issuer):
            raise ValueError(f"issuer: {self.issuer!r} is not a safe URL; allowed: {_SAFE}.")
        if self.public_url is not None and not _is_base(self.public_url):
            raise ValueError(f"public_url: {self.public_url!r} is not a safe URL; allowed: {_SAFE}.")
        for page in self.return_to:
            if "#" in page or not (is_safe_url(page) or is_own_path(page)):
                raise ValueError(
                    f"return_to: {page!r} is not a safe page; allowed: a path on this server or an https:// URL, "
                    "without #."
                )
        if "openid" not in self.scopes:
            raise ValueError("scopes: 'openid' is missing. Providers name the person only with it.")

    def __repr__(self) -> str:
        return f"SignInSettings(issuer={self.issuer!r})"  # without the secret

    @property
    def configured(self) -> bool:
        """True if people can sign in this way."""
        return self.client_id != ""

    @property
    def admits_anybody(self) -> bool:
        """True if everybody is admitted, whatever the address."""
        return ANYBODY in self.allowed_domains or ANYBODY in self.allowed_emails

    def mistake(self, host: str) -> str | None:
        """Return what would be an oversight on a server that listens on ``host`` and may be open to a network."""
        if not self.configured:
            return None
        if not self.client_secret and (self.issuer == GOOGLE or self.client_authentication != "auto"):
            who = self.issuer if self.issuer == GOOGLE else f"client_authentication {self.client_authentication}"
            return f"client_secret: Required, because {who} needs it."
        if self.public_url is None and not is_loopback(host):
            return (
                f"public_url: Required, because server.host {host} is not loopback; allowed: the URL that "
                "browsers use, like https://jan.example.com."
            )
        exposed = not is_loopback(host) or (
            self.public_url is not None and not is_loopback(host_of(self.public_url))
        )
        if exposed and self.create_users and not (self.allowed_domains or self.allowed_emails):
            return (
                f"create_users: This would give an account to everyone whom {self.issuer} knows; name "
                "allowed_domains or allowed_emails ('*' for anyone), or set create_users: false."
            )
        return None


def _is_base(url: str) -> bool:
    return is_safe_url(url) and "?" not in url and "#" not in url

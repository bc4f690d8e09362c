"""Says who is admitted without credentials, and which settings show that others can reach the server."""

from collections.abc import Iterator
from typing import Literal

from jan.errors import ConfigurationError, Mistakes
from jan.settings import ANYONE, Settings
from jan.settings.addresses import host_of, is_loopback

#: What ``access.anonymous`` comes to.
Admitted = Literal["refuse", "on-loopback", "anyone-who-can-reach-this-server"]


def admitted_without_credentials(settings: Settings) -> Admitted:
    """Return the meaning of ``access.anonymous``: auto is on-loopback unless others can reach the server."""
    chosen = settings.access.anonymous
    if chosen != "auto":
        return chosen
    return "refuse" if signs_of_exposure(settings) else "on-loopback"


def signs_of_exposure(settings: Settings) -> list[str]:
    """Return the names of the settings that show that others can reach this server, though it listens on
    loopback."""
    return list(_signs(settings))


def _signs(settings: Settings) -> Iterator[str]:
    if settings.server.trusted_proxies:
        yield "server.trusted_proxies"
    if settings.server.trusted_hosts:
        yield "server.trusted_hosts"
    # A sign-in that returns to loopback is for people at this machine.
    if settings.sign_in.public_url and not is_loopback(host_of(settings.sign_in.public_url)):
        yield "sign_in.public_url"


def check_exposure(settings: Settings) -> None:
    """Check that nobody is admitted by oversight. Raises ConfigurationError."""
    chosen, host = settings.access.anonymous, settings.server.host
    if chosen in ("auto", "on-loopback") and not is_loopback(host):
        raise ConfigurationError(
            f"access.anonymous: Other machines can reach server.host {host}, and '{chosen}' allows requests "
            f"without credentials on loopback only; allowed here: 'refuse', or '{ANYONE}' to let anyone use the "
            "models. JAN__ACCESS__ANONYMOUS in the environment sets it too."
        )
    mistakes = Mistakes()
    for sign in signs_of_exposure(settings) if chosen == "on-loopback" else ():
        mistakes.add(
            f"access.anonymous: Others can reach this server, as {sign} shows, and 'on-loopback' is for this "
            f"machine only; allowed here: 'auto' or 'refuse', or '{ANYONE}' to let anyone use the models."
        )
    mistakes.raise_any()

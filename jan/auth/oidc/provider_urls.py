"""Judges the URLs that a provider publishes, which the server fetches with its secret and people's codes.

A provider elsewhere must not have the server call services of the server's own machine or network (server-side
request forgery, CWE-918). Names are judged as they are written. A name elsewhere can lead here by DNS, but
services here have no certificate for it.
"""

import re
from ipaddress import IPv6Address, ip_address

from jan.settings.addresses import host_of, is_safe_url

_PUBLIC, _PRIVATE, _LOOPBACK = range(3)
# Names that lead to private networks (RFC 6762, RFC 8375, and what ICANN and RFC 6762 G know of).
_PRIVATE_ZONES = ("local", "internal", "intranet", "private", "corp", "home", "lan", "home.arpa")
_LOOPBACK_ZONES = ("localhost", "localdomain", "ip6-localhost", "ip6-loopback")
# Forms that some resolvers read as an IPv4 address: 127.1, 0x7f.1, 2130706433 (WHATWG URL 3.5).
_ODD_ADDRESS = re.compile(r"(?:.*\.)?(?:0x[0-9a-f]*|[0-9]+)")


def may_name(issuer: str, url: str) -> bool:
    """Return True if a provider with this issuer URL may name ``url`` as one of its endpoints.

    It must use TLS or be on loopback. It must be on the issuer's host, or no nearer to this server than that.
    """
    host, own = host_of(url).removesuffix("."), host_of(issuer).removesuffix(".")
    if not all(host.split(".")):  # no name: resolvers differ in what they make of ".." and "localhost.."
        return False
    return is_safe_url(url) and (host == own or _nearness(host) <= _nearness(own))


def _nearness(host: str) -> int:
    """Return how near a host is by its name: elsewhere, in the own network, or on this machine."""
    try:
        address = ip_address(host)
    except ValueError:
        return _nearness_of_name(host)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_loopback or address.is_unspecified:
        return _LOOPBACK
    return _PUBLIC if address.is_global else _PRIVATE


def _nearness_of_name(host: str) -> int:
    if _ODD_ADDRESS.fullmatch(host) or _is_in(host, _LOOPBACK_ZONES):
        return _LOOPBACK
    return _PRIVATE if "." not in host or _is_in(host, _PRIVATE_ZONES) else _PUBLIC


def _is_in(host: str, zones: tuple[str, ...]) -> bool:
    return any(host == zone or host.endswith(f".{zone}") for zone in zones)

"""Which addresses are this machine's own, which URLs are safe to send browsers and secrets to, and where a request
comes from."""

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Printable ASCII; no user name, and no backslash, which browsers read as a slash.
_URL = re.compile(r"https?://[a-zA-Z0-9.\-_\[\]:]+(/[!-\[\]-~]*)?")
# One slash at the beginning: two would name another host.
_PATH = re.compile(r"/(?!/)[!-\[\]-~]*")
# What some proxies write behind an address: its port, with brackets around an IPv6 address.
_WITH_PORT = re.compile(r"\[(?P<six>[^\]]*)\](:[0-9]+)?|(?P<four>[0-9.]+):[0-9]+")
# More than any chain of proxies.
_MOST_HOPS = 32
# Names by which servers are called; almost always one and the same.
_HOSTS = 64
# One household or host gets a whole /64 to choose its addresses from.
_IPV6_SUBSCRIBER = 64


@lru_cache(_HOSTS)
def is_loopback(host: str) -> bool:
    """Whether a server that listens there is reachable from its own machine only."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@lru_cache(_HOSTS)
def host_of(url: str) -> str:
    """The host in a URL, without port and brackets; '' if there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def is_safe_url(url: str) -> bool:
    """Whether a URL is absolute and over TLS, or does not leave the machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    tls = parts.scheme == "https" and host != ""
    return (tls or (parts.scheme == "http" and is_loopback(host))) and _URL.fullmatch(url) is not None


def is_own_path(page: str) -> bool:
    """Whether a page is a path on this server, and nothing else to any browser."""
    return _PATH.fullmatch(page) is not None


def network_of(text: str) -> Network:
    """An address or a network; ValueError says what is wrong with the text."""
    return ip_network(text.strip(), strict=True)


class TrustedProxies:
    """Whose word is believed about where a request comes from; nobody's by default."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = tuple(network_of(text) for text in networks)

    def client(self, peer: str, forwarded_for: str) -> str:
        """The client's address, an IPv6 one as its /64: the peer, or if that is a trusted proxy the right-most
        address of its X-Forwarded-For that is none. What stands left of that anybody can have written."""
        address = _address(peer)
        if address is None:
            return "unknown"  # a Unix socket
        if self._networks and self._trusts(address):
            for hop in reversed(forwarded_for.rsplit(",", _MOST_HOPS)[-_MOST_HOPS:]):
                before = _address(hop)
                if before is None:  # what comes before it can't be known
                    break
                address = before
                if not self._trusts(address):
                    break
        return _subscriber(address)

    def includes(self, peer: str) -> bool:
        """Whether a peer is one of them."""
        address = _address(peer)
        return address is not None and self._trusts(address)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def _address(text: str) -> Address | None:
    """An address, also in brackets or with a port; IPv4 in IPv6's clothes as IPv4."""
    text = text.strip()
    found = _WITH_PORT.fullmatch(text)
    try:
        address = ip_address((found["six"] or found["four"]) if found else text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _subscriber(address: Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((int(address), _IPV6_SUBSCRIBER), strict=False))

"""Judges addresses and URLs: which are this machine's own, which are safe, and where a request comes from."""

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Printable ASCII without a user name. No backslash either: browsers read it as a slash.
_URL = re.compile(r"https?://[a-zA-Z0-9.\-_\[\]:]+(/[!-\[\]-~]*)?")
# One slash at the beginning. Two would name another host.
_PATH = re.compile(r"/(?!/)[!-\[\]-~]*")
# Some proxies append the port to an address, with brackets around an IPv6 address.
_WITH_PORT = re.compile(r"\[(?P<six>[^\]]*)\](:[0-9]+)?|(?P<four>[0-9.]+):[0-9]+")
# More than any chain of proxies has.
_MOST_HOPS = 32
# Names by which servers are addressed, almost always the same one.
_HOSTS = 64
# Clients whose address is known without parsing it again.
_CLIENTS = 4096
# One household or host gets a whole /64 and can choose any address in it.
_IPV6_SUBSCRIBER = 64


@lru_cache(_HOSTS)
def is_loopback(host: str) -> bool:
    """Return True if a server that listens on ``host`` is reachable from its own machine only."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_address(host: str) -> bool:
    """Return True for an IP address, without brackets."""
    return _address(host) is not None


@lru_cache(_HOSTS)
def host_of(url: str) -> str:
    """Return the host in a URL, without port and brackets; '' if there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


@lru_cache(_HOSTS)
def port_of(url: str) -> int | None:
    """Return the port that a URL names, 0 for one that is no port; None if it names none."""
    try:
        return urlsplit(url).port
    except ValueError:
        return 0


def is_safe_url(url: str) -> bool:
    """Return True if a URL is absolute and uses TLS, or stays on this machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    tls = parts.scheme == "https" and host != ""
    return (tls or (parts.scheme == "http" and is_loopback(host))) and _URL.fullmatch(url) is not None


def is_own_path(page: str) -> bool:
    """Return True if every browser reads a page as a path on this server."""
    return _PATH.fullmatch(page) is not None


def network_of(text: str) -> Network:
    """Parse an address or a network. Raises ValueError that says what is wrong."""
    return ip_network(text.strip(), strict=True)


class TrustedProxies:
    """Proxies whose X-Forwarded-For and X-Forwarded-Proto headers are believed. By default none is."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = tuple(network_of(text) for text in networks)
        #: Returns the client's address for a peer and its X-Forwarded-For; "unknown" for a Unix socket.
        self.exact = lru_cache(_CLIENTS)(self._exact)
        #: Returns the same for counting: an IPv6 address as its /64.
        self.client = lru_cache(_CLIENTS)(self._client)

    def _exact(self, peer: str, forwarded_for: str) -> str:
        return str(self._find(peer, forwarded_for) or "unknown")

    def _client(self, peer: str, forwarded_for: str) -> str:
        found = self._find(peer, forwarded_for)
        return "unknown" if found is None else _subscriber(found)

    def _find(self, peer: str, forwarded_for: str) -> Address | None:
        """Find the client's address; None for a Unix socket.

        This is the peer, unless the peer is a trusted proxy. Then it is the right-most address in X-Forwarded-For
        that is not a trusted proxy. Everything to the left of it may be forged.
        """
        address = _address(peer)
        if address is None:
            return None
        if self._networks and self._trusts(address):
            for hop in reversed(forwarded_for.rsplit(",", _MOST_HOPS)[-_MOST_HOPS:]):
                before = _address(hop)
                if before is None:  # addresses before it are unknown
                    break
                address = before
                if not self._trusts(address):
                    break
        return address

    def includes(self, peer: str) -> bool:
        """Return True if a peer is a trusted proxy."""
        address = _address(peer)
        return address is not None and self._trusts(address)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def _address(text: str) -> Address | None:
    """Parse an address, also in brackets or with a port. An IPv4-mapped IPv6 address becomes IPv4."""
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

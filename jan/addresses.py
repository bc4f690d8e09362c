"""Which addresses are this machine's own, and which URLs are safe to send browsers and secrets to."""

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

# Printable ASCII; no user name, and no backslash, which browsers read as a slash.
_URL = re.compile(r"https?://[a-zA-Z0-9.\-_\[\]:]+(/[!-\[\]-~]*)?")
# One slash at the beginning: two would name another host.
_PATH = re.compile(r"/(?!/)[!-\[\]-~]*")


def is_loopback(host: str) -> bool:
    """Whether a server that listens there is reachable from its own machine only."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


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

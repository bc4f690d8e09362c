"""Where a request comes from: nobody is believed who is not trusted, and nothing in a header is an error."""

import pytest

from jan.settings.addresses import TrustedProxies

PROXIES = TrustedProxies(["127.0.0.1", "10.0.0.0/8", "2001:db8:ffff::/48"])


@pytest.mark.parametrize(
    ("peer", "header", "client"),
    [
        ("203.0.113.9", "", "203.0.113.9"),
        # A stranger's word counts for nothing.
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.1", "198.51.100.1"),
        # The right-most that is not trusted; what is left of it the client wrote.
        ("127.0.0.1", "1.2.3.4, 198.51.100.1, 10.1.2.3", "198.51.100.1"),
        ("127.0.0.1", "10.9.9.9, 10.1.2.3", "10.9.9.9"),
        # Garbage hides whoever is behind it, and invents nobody.
        ("127.0.0.1", "198.51.100.1, nonsense", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.1, nonsense, 10.1.2.3", "10.1.2.3"),
        ("127.0.0.1", ",,,", "127.0.0.1"),
        ("127.0.0.1", "999.1.1.1", "127.0.0.1"),
        ("127.0.0.1", "\x00\ud800", "127.0.0.1"),
        ("127.0.0.1", "9" * 60_000, "127.0.0.1"),
        # Forms that proxies write.
        ("127.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
        ("127.0.0.1", "[2001:db8:1:2:3:4:5:6]:4711", "2001:db8:1:2::/64"),
        ("127.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
        ("::ffff:127.0.0.1", "198.51.100.1", "198.51.100.1"),
        # All of a /64 is one caller.
        ("2001:db8:1:2:aaaa::1", "", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:bbbb::2", "", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "", "fe80::/64"),
        ("2001:db8:ffff::1", "2001:db8:9::1", "2001:db8:9::/64"),
        # A Unix socket.
        ("", "198.51.100.1", "unknown"),
    ],
)
def test_the_client(peer: str, header: str, client: str) -> None:
    """The peer, or what a trusted proxy says of it."""
    assert PROXIES.client(peer, header) == client


def test_nobody_is_trusted_by_default() -> None:
    """Not even a proxy on loopback is trusted by default."""
    assert TrustedProxies(()).client("127.0.0.1", "198.51.100.1") == "127.0.0.1"


def test_a_chain_is_followed_for_a_while_only() -> None:
    """A header of thousands of trusted addresses costs no more than one of a few."""
    assert PROXIES.client("127.0.0.1", ",".join(["198.51.100.1", *["10.0.0.1"] * 10_000])) == "10.0.0.1"

"""Which URLs a sign-in provider may name: none on this machine or in its network, unless it is there itself."""

import pytest

from jan.auth.oidc.provider_urls import may_name

ELSEWHERE, INSIDE, HERE = "https://id.example.com/realm", "https://id.corp.internal", "http://127.0.0.1:9000"
OF_THIS_MACHINE = (
    "http://127.0.0.1:6379/",
    "http://localhost:8080/",
    "https://127.0.0.1/",
    "https://127.8.9.1/",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://017700000001/",
    "https://0.0.0.0/",
    "https://[::1]/",
    "https://[::]/",
    "https://[::ffff:127.0.0.1]/",
    "https://localhost/",
    "https://localhost./",
    "https://LOCALHOST/",
    "https://jan.localhost/",
    "https://localhost.localdomain/",
)
OF_THE_NETWORK = (
    "https://10.1.2.3/",
    "https://172.16.0.1/",
    "https://192.168.1.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://100.64.0.1/",
    "https://[fd00::1]/",
    "https://[fe80::1]/",
    "https://[::ffff:10.0.0.1]/",
    "https://printer/",
    "https://nas.local/",
    "https://wiki.corp.internal/",
    "https://router.home.arpa/",
)
ANYWHERE = (
    "https://id.example.com/token",
    "https://oauth2.googleapis.com/token",
    "https://8.8.8.8/",
    "https://a.test./",
)


@pytest.mark.parametrize("url", OF_THIS_MACHINE)
def test_only_a_provider_on_this_machine_names_urls_of_it(url: str) -> None:
    """However the address is written."""
    assert not may_name(ELSEWHERE, url)
    assert not may_name(INSIDE, url)
    assert may_name(HERE, url)


@pytest.mark.parametrize("url", OF_THE_NETWORK)
def test_only_a_provider_of_the_network_names_urls_of_it(url: str) -> None:
    """By private addresses and by names that lead nowhere else."""
    assert not may_name(ELSEWHERE, url)
    assert may_name(INSIDE, url)
    assert may_name(HERE, url)


@pytest.mark.parametrize("url", ANYWHERE)
@pytest.mark.parametrize("issuer", [ELSEWHERE, INSIDE, HERE])
def test_every_provider_names_urls_elsewhere(issuer: str, url: str) -> None:
    """Large providers have several hosts."""
    assert may_name(issuer, url)


def test_a_provider_names_urls_of_its_own_host() -> None:
    """Also where that host is one of the network; never without TLS there."""
    assert may_name("https://10.0.0.5/realm", "https://10.0.0.5/realm/token")
    assert not may_name("https://10.0.0.5/realm", "http://10.0.0.5/realm/token")
    assert not may_name(ELSEWHERE, "http://id.example.com/token")


@pytest.mark.parametrize("host", ["..", "localhost..", "a..test", ".a.test", "127.0.0.1.."])
def test_no_provider_names_a_host_with_an_empty_label(host: str) -> None:
    """Resolvers differ in what they make of it."""
    for issuer in (ELSEWHERE, INSIDE, HERE):
        assert not may_name(issuer, f"https://{host}/")

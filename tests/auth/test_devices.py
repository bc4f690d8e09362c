"""Names of devices, from what programs say of themselves."""

import pytest

from jan.auth.devices import device_of

_WEBKIT = "(KHTML, like Gecko)"
_SAID = [
    ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
    (
        f"Mozilla/5.0 (Windows NT 10.0) {_WEBKIT} Chrome/141.0 Safari/537.36 Edg/141.0",
        "Edge on Windows",
    ),
    (f"Mozilla/5.0 (Linux; Android 16) {_WEBKIT} Chrome/141.0 Mobile Safari/537.36", "Chrome on Android"),
    (
        f"Mozilla/5.0 (iPhone; CPU iPhone OS 19_0) {_WEBKIT} Safari/604.1",
        "Safari on iPhone",
    ),
    ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)", "Browser on macOS"),
    ("curl/8.5.0", "curl"),
    ("python-httpx/0.28", "python-httpx"),
    ("", ""),
    ("<b>x</b>", ""),
    ("\u202eevil", ""),
    ("a" * 5000, "a" * 40),
]


@pytest.mark.parametrize(("said", "name"), _SAID, ids=[str(number) for number in range(len(_SAID))])
def test_a_device_is_named_for_people(said: str, name: str) -> None:
    """A browser with its system, or a program; nothing that could pass for something else in a list."""
    assert device_of(said) == name

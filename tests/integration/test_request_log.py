"""The line of each request in the log: who asked, from where, with which credential."""

from collections.abc import Iterator

import httpx
import pytest
from support.patience import until
from support.raw_http import exchange

from jan.testing import served
from jan.testing.in_process import ThreadServer

PROXIED = "server: {trusted_proxies: [127.0.0.1], trusted_hosts: [jan.test]}\n"
FAR = {"X-Forwarded-For": "203.0.113.7"}
PROFILE = "/api/v1/user/profile"


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadServer]:
    with served(f"{PROXIED}access: {{anonymous: refuse}}") as server:
        yield server


def line_of(server: ThreadServer, response: httpx.Response) -> dict[str, object]:
    """The line of a request, which is written after its answer."""
    request_id = response.headers["x-request-id"]

    def lines() -> list[dict[str, object]]:
        return [dict(record) for record in server.log if record.get("request_id") == request_id]

    assert until(lambda: lines() != [])
    return lines()[0]


@pytest.mark.parametrize(
    ("forwarded", "shown"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("198.51.100.1, 203.0.113.7", "203.0.113.7"),
        ("2001:db8::17", "2001:db8::17"),
        ("forged\tlevel=info", "127.0.0.1"),
    ],
    ids=["one", "through another", "six", "forged"],
)
def test_the_address_is_the_clients(server: ThreadServer, forwarded: str, shown: str) -> None:
    """It is the one behind trusted proxies, whole, and never what a client made up."""
    response = server.client.get("/health", headers={"X-Forwarded-For": forwarded})
    assert line_of(server, response)["client"] == shown


def test_the_credential_is_named_by_its_id(server: ThreadServer) -> None:
    """A key by ``key_id``, a session by ``session_id``, and nothing for a caller without either."""
    me = server.connect(server.add_user())
    response = me.get("/api/v1/user/api-keys")
    line = line_of(server, response)
    assert line["key_id"] == response.json()["data"][0]["id"]
    assert "session_id" not in line
    user = server.run(server.application.services.users.get(str(line["user"])))
    token = server.run(server.application.services.sessions.sign_in(user)).token
    line = line_of(server, server.connect(token).get(PROFILE))
    assert line["status"] == 200
    assert str(line["session_id"]).startswith("sess_")
    assert "key_id" not in line
    line = line_of(server, server.client.get(PROFILE))
    assert line["status"] == 401
    assert not {"key_id", "session_id", "user"} & set(line)


def test_a_missing_url_cannot_forge_a_line(server: ThreadServer) -> None:
    """Its path is escaped and has no query."""
    path = str(line_of(server, server.client.get("/nowhere/%0A%1b[31m\u2028{forged}?secret=1"))["path"])
    assert path.startswith("/nowhere/%0A%1b")
    assert path.isascii()
    assert path.isprintable()
    assert "secret" not in path


def test_what_was_left_out_is_named(server: ThreadServer) -> None:
    """The line names what the answer's header names."""
    body = {"model": "echo", "messages": [{"role": "user", "content": "Hi"}], "colour": "red"}
    answer = server.connect(server.add_user()).post("/v1/chat/completions", json=body)
    assert line_of(server, answer)["ignored"] == answer.headers["x-jan-ignored"] == "colour"


def test_what_is_no_request_has_its_peer(server: ThreadServer) -> None:
    """The line of what is no HTTP says where it came from."""
    before = len(server.log)
    exchange(server.url, b"nonsense\r\n\r\n")
    lines = [record for record in server.log[before:] if record.get("route") == "malformed"]
    assert [line["client"] for line in lines] == ["127.0.0.1"]


def test_hashed_addresses_stay_apart() -> None:
    """An address has the same hash each time, and another address another one; with another server's key too."""
    seen = []
    for _ in range(2):
        with served(f"{PROXIED}log: {{addresses: hashed}}\naccess: {{anonymous: refuse}}") as server:
            for headers in (FAR, FAR, {}):
                response = server.client.get("/health", headers=headers)
                seen.append(str(line_of(server, response)["client"]))
            assert not any("203.0.113" in str(record) for record in server.log)
    assert seen[0] == seen[1]
    assert seen[3] == seen[4]
    assert len(set(seen)) == 4
    assert all(len(shown) == len("hash:") + 16 for shown in seen)

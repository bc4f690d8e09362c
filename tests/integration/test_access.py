"""How credentials are sent, and what is said about those that are missing, malformed or too weak."""

from collections.abc import Iterator

import httpx
import pytest

from jan.testing import served

WRONG = "jan_wrong"


class Callers:
    """A client without credentials, and keys."""

    def __init__(self, client: httpx.Client, read: str, write: str) -> None:
        self.client = client
        self.read = read
        self.write = write


@pytest.fixture(scope="module", params=["on-loopback", "refuse"])
def guarded(request: pytest.FixtureRequest) -> Iterator[Callers]:
    """A server with callers, by its setting for anonymous callers."""
    with served(f"access: {{anonymous: {request.param}}}") as server:
        yield Callers(server.client, server.add_user("read"), server.add_user("write"))
        assert server.errors == []


def test_a_missing_permission_is_named(guarded: Callers) -> None:
    """403 says which permission is missing and which are there."""
    refused = guarded.client.get("/api/v1/user/profile", headers={"Authorization": f"Bearer {guarded.write}"})
    assert refused.status_code == 403
    assert "'read'" in refused.json()["error"]["message"]
    assert "have: write" in refused.json()["error"]["message"]


@pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "jan_x", "Bearer a b c"])
def test_malformed_authorization(guarded: Callers, header: str) -> None:
    """Where credentials are needed, a header that is no bearer token is 401 with the form that is expected."""
    refused = guarded.client.get("/api/v1/user/profile", headers={"Authorization": header})
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("header", ["x-api-key", "api-key", "X-API-KEY"])
def test_the_headers_of_other_clients_carry_credentials(guarded: Callers, header: str) -> None:
    """A key works in the headers of Anthropic's and Azure's clients as it does after Bearer. A wrong one is 401,
    also where no credentials are needed."""
    client, right, wrong = guarded.client, {header: guarded.read}, {header: WRONG}
    assert client.get("/api/v1/user/profile", headers=right).status_code == 200
    assert client.post("/api/v1/users", headers=right, json={"email": "a@example.org"}).status_code == 403
    for path in ("/api/v1/user/profile", "/api/v1/models"):
        assert client.get(path, headers=wrong).json()["error"]["code"] == "invalid_api_key"


def test_one_credential_counts(guarded: Callers) -> None:
    """Authorization wins over the other headers. If those two differ, nobody guesses which one is meant."""
    client = guarded.client
    bearer = {"Authorization": f"Bearer {guarded.read}"}
    one, other = {"x-api-key": guarded.write}, {"api-key": guarded.read}

    def code(headers: dict[str, str]) -> str | None:
        error: dict[str, str] = client.get("/api/v1/user/profile", headers=headers).json().get("error", {})
        return error.get("code")

    assert code({**bearer, **one, "api-key": "jan_wrong"}) is None
    assert code({**other, "Authorization": f"Bearer {WRONG}"}) == "invalid_api_key"
    assert code({**other, "x-api-key": guarded.read}) is None
    assert code({**one, **other}) == "conflicting_credentials"
    refused = client.get("/api/v1/models", headers={**one, **other})
    assert refused.status_code == 401
    assert guarded.read not in refused.text

"""Requests limited through HTTP: the reference's numbers, exact under concurrency, told in every answer."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from support.conversation import CHAT, bearer
from support.lean_http import lean_client
from support.server import ServerProcess, http_client

MODELS = "/api/v1/models"
PROFILE = "/api/v1/user/profile"
UNLIMITED_PATHS = (
    "/health",
    "/ready",
    "/metrics",
    "/.well-known/jwks.json",
    "/api/openapi.json",
    "/api/swagger/index.html",
    "/api/swagger/initializer.js",
    "/api/swagger/swagger-ui.css",
    "/api/swagger/swagger-ui-bundle.js",
    "/api/swagger/favicon-32x32.png",
)
Start = Callable[..., ServerProcess]


def question(**fields: Any) -> dict[str, Any]:
    return {"model": "echo", "messages": [{"role": "user", "content": "one two three"}], **fields}


def statuses(urls: list[str], requests: int, headers: dict[str, str], body: Any) -> Counter[int]:
    """How requests are answered that are sent all at once, in turn to each of the servers."""

    async def send(url: str) -> int:
        async with lean_client(url, headers) as client:
            return (await client.post(CHAT, json=body)).status_code

    async def main() -> list[int]:
        return await asyncio.gather(*(send(urls[index % len(urls)]) for index in range(requests)))

    return Counter(asyncio.run(main()))


# --- the numbers ------------------------------------------------------------------------------------


def test_exactly_sixty_of_two_hundred_pass(start_limited: Start) -> None:
    """200 requests to a model at once: 60 answers, 140 refusals; the refused ones do not count for the hour."""
    server = start_limited()
    headers = bearer(server.admin_key)
    assert statuses([server.url], 200, headers, question()) == {200: 60, 429: 140}
    with http_client(server, headers=headers) as client:
        answer = client.get(MODELS)
        assert answer.status_code == 200
        assert answer.headers["X-RateLimit-Limit"] == "1000"
        assert answer.headers["X-RateLimit-Remaining"] == str(1000 - 60 - 1)


def test_exactly_sixty_pass_in_two_processes_of_one_store(start_limited: Start) -> None:
    """Two servers on one SQLite file that count in it: 60 in all."""
    servers = [start_limited("limits: {counted_in: store}", folder="shared") for _ in range(2)]
    headers = bearer(servers[0].admin_key)
    assert statuses([server.url for server in servers], 200, headers, question()) == {200: 60, 429: 140}


def test_exactly_sixty_pass_in_two_processes_on_mongodb(
    start_limited: Start, mongodb_url: Callable[[str], str]
) -> None:
    """On MongoDB they count together without being told to."""
    pytest.importorskip("motor")
    storage = f"storage: {{url: '{mongodb_url(f'jan_limits_{time.time_ns()}')}', timeout_seconds: 20}}"
    servers = [start_limited(storage, folder=f"mongo-{number}") for number in range(2)]
    headers = bearer(servers[0].admin_key)
    assert statuses([server.url for server in servers], 200, headers, question()) == {200: 60, 429: 140}


def test_a_hundred_an_hour_without_credentials(start_limited: Start) -> None:
    """The hundred and first request of an address is refused, for the rest of the hour; users are not."""
    server = start_limited()
    with http_client(server) as client:
        remaining = [client.get(MODELS).headers["X-RateLimit-Remaining"] for _ in range(100)]
        assert remaining == [str(number) for number in range(99, -1, -1)]
        refused = client.get(MODELS)
        assert refused.status_code == 429
        error = refused.json()["error"]
        assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
        assert "'anonymous' is 100 requests an hour for this address" in error["message"]
        assert refused.headers["x-should-retry"] == "false"
        assert 0 < int(refused.headers["retry-after"]) <= 3600
        assert 0 < int(refused.headers["retry-after-ms"]) <= 3_600_000
        assert refused.headers["X-RateLimit-Remaining"] == "0"
        assert 0 < int(refused.headers["X-RateLimit-Reset"]) - time.time() <= 3601
        assert client.get(PROFILE, headers=bearer(server.admin_key)).status_code == 200
        metrics = client.get("/metrics").text
        assert 'jan_limits_refused_total{limit="anonymous"} 1.0' in metrics


def test_a_thousand_an_hour_for_a_user(start_limited: Start) -> None:
    """The thousand and first is refused, whichever credentials of the user it comes with."""
    server = start_limited()
    with http_client(server, headers=bearer(server.admin_key)) as client:
        made = client.post("/api/v1/user/api-keys", json={"name": "other"}).json()["key"]
        for number in range(998, 0, -1):
            assert client.get(MODELS).headers["X-RateLimit-Remaining"] == str(number)
        assert client.get(MODELS, headers=bearer(made)).headers["X-RateLimit-Remaining"] == "0"
        assert client.get(MODELS).status_code == client.get(MODELS, headers=bearer(made)).status_code == 429


def test_users_do_not_share(start_limited: Start) -> None:
    """One user's limit is not another's, nor that of the address they share."""
    server = start_limited("limits: {authenticated: 2/hour, anonymous: 1/hour}")
    with http_client(server) as client:
        assert [client.get(PROFILE, headers=bearer(server.admin_key)).status_code for _ in range(3)] == [
            200,
            200,
            429,
        ]
        assert client.get(MODELS).status_code == 200


# --- what counts ------------------------------------------------------------------------------------


def test_health_metrics_and_documentation_are_not_limited(start_limited: Start) -> None:
    """All that Swagger loads and all that monitoring asks for answers past the limit, without its headers."""
    server = start_limited("limits: {anonymous: 1/hour}")
    with http_client(server) as client:
        assert client.get(MODELS).status_code == 200
        assert client.get(MODELS).status_code == 429
        for path in UNLIMITED_PATHS:
            answer = client.get(path)
            assert answer.status_code == 200, path
            assert "X-RateLimit-Limit" not in answer.headers


def test_limits_that_are_off_are_not_told_of(start_limited: Start) -> None:
    """No limit, no header."""
    server = start_limited("limits: {authenticated: off, anonymous: off, inference: off}")
    with http_client(server) as client:
        assert [name for name in client.get(MODELS).headers if "ratelimit" in name] == []


def test_bad_credentials_count_for_their_address(start_limited: Start) -> None:
    """401 until the address's limit is used up, then 429; good credentials from there go on."""
    server = start_limited("limits: {anonymous: 3/hour}")
    with http_client(server) as client:
        answers = [client.get(PROFILE, headers=bearer(f"jan_guess{number}")) for number in range(5)]
        assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]
        assert [a.headers["X-RateLimit-Remaining"] for a in answers] == ["2", "1", "0", "0", "0"]
        assert client.get(PROFILE).status_code == 429
        assert client.get(PROFILE, headers=bearer(server.admin_key)).status_code == 200
        assert client.get(MODELS).status_code == 429


def test_every_answer_tells(start_limited: Start) -> None:
    """200, a stream, 400, 403, 404, 413 with its body sent: each counts, and says what is left."""
    server = start_limited("server: {max_body_bytes: 1024}\nlimits: {authenticated: 50/hour}")
    with http_client(server, headers=bearer(server.admin_key)) as client:
        weak = client.post("/api/v1/user/api-keys", json={"name": "weak", "permissions": ["read"]}).json()["key"]
        answers = [
            client.post(CHAT, json=question()),
            client.post(CHAT, json=question(stream=True)),
            client.post(CHAT, json={}),
            client.post(CHAT, json=question(), headers=bearer(weak)),
            client.get(f"{MODELS}/nothing"),
            client.post(CHAT, content=iter([b"x" * 4096])),
        ]
        assert [answer.status_code for answer in answers] == [200, 200, 400, 403, 404, 413]
        assert [a.headers["X-RateLimit-Remaining"] for a in answers] == ["48", "47", "46", "45", "44", "43"]
        for answer in answers:
            assert answer.headers["x-ratelimit-limit-requests"] == "50"
            assert answer.headers["x-ratelimit-reset-requests"]


def test_a_refused_body_is_not_decoded(start_limited: Start) -> None:
    """Past the limit it does not matter what the body is."""
    server = start_limited("limits: {inference: 1/minute}")
    with http_client(server) as client:
        assert client.post(CHAT, json=question()).status_code == 200
        refused = client.post(CHAT, content=b"not json")
        assert refused.status_code == 429
        assert refused.headers["x-should-retry"] == "true"
        assert int(refused.headers["retry-after"]) <= 60


# --- addresses --------------------------------------------------------------------------------------

ANYONE = "access: {anonymous: anyone-who-can-reach-this-server}"


def test_clients_behind_a_trusted_proxy_are_told_apart(start_limited: Start) -> None:
    """By the address that the proxy adds; what a client wrote before it changes nothing."""
    server = start_limited(
        f"{ANYONE}\nlimits: {{anonymous: 1/hour}}", JAN__SERVER__TRUSTED_PROXIES="[127.0.0.0/8]"
    )
    with http_client(server) as client:

        def status(forwarded_for: str) -> int:
            return client.get(MODELS, headers={"X-Forwarded-For": forwarded_for}).status_code

        assert [status("203.0.113.1"), status("203.0.113.2"), status("203.0.113.1")] == [200, 200, 429]
        assert status("198.51.100.77, 203.0.113.1") == 429
        assert status("2001:db8::1") == 200
        assert status("2001:db8::2") == 429
        assert status("rubbish") == 200
        assert status("more rubbish") == 429


def test_nobody_is_believed_who_is_no_trusted_proxy(start_limited: Start) -> None:
    """A header does not give a client a limit of its own."""
    server = start_limited(f"{ANYONE}\nlimits: {{anonymous: 1/hour}}")
    with http_client(server) as client:
        headers = [{"X-Forwarded-For": f"203.0.113.{n}", "X-Real-Ip": f"203.0.113.{n}"} for n in range(2)]
        assert [client.get(MODELS, headers=header).status_code for header in headers] == [200, 429]

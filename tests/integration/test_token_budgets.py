"""Tokens limited through HTTP: reserved before, settled after, whatever becomes of the answer."""

import asyncio
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import counting
from support.conversation import CHAT, FAILING, FAILING_CHAT, bearer
from support.metrics import value
from support.server import ServerProcess, http_client, tls

pytestmark = pytest.mark.slow

KEYS = "/api/v1/user/api-keys"
USAGE = "/api/v1/usage"
WORDS = "one two three four five six seven eight nine ten"
# To the echo model each word is a token; each is said again.
PROMPT = 10
Start = Callable[..., ServerProcess]


def question(content: str = WORDS, **fields: Any) -> dict[str, Any]:
    return {"model": "echo", "messages": [{"role": "user", "content": content}], **fields}


def of_day(client: httpx.Client) -> dict[str, int]:
    """How the user's day stands."""
    limits = client.get(USAGE).json()["limits"]
    (found,) = (limit for limit in limits if limit["name"] == "user_tokens_per_day")
    assert found["used"] + found["remaining"] == found["limit"] or found["remaining"] == 0
    return {name: found[name] for name in ("limit", "used", "remaining")}


def settles_at(client: httpx.Client, used: Callable[[int], bool]) -> int:
    """Wait until the day's use is as said; returns it."""
    deadline = time.monotonic() + 60
    while True:
        found = of_day(client)["used"]
        if used(found):
            return found
        assert time.monotonic() < deadline, f"the budget stays at {found}"
        time.sleep(0.05)


@pytest.fixture
def budgeted(start_limited: Start, tmp_path: Path) -> Iterator[httpx.Client]:
    """The administrator's client of a server with a budget of 1000 a day for everybody."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "failing.py").write_text(FAILING)
    server = start_limited(
        "limits: {user: {tokens_per_day: 1000}}\n"
        f"routes: [{{path: {FAILING_CHAT}, handler: failing.FailingChat, name: failing}}]"
    )
    with http_client(server, headers=bearer(server.admin_key)) as client:
        yield client


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_is_settled_to_what_it_took(budgeted: httpx.Client, stream: bool) -> None:
    """The headers show the reservation. Afterwards only the tokens read and generated are counted, at once."""
    answer = budgeted.post(CHAT, json=question(max_tokens=100, stream=stream))
    assert answer.status_code == 200
    assert answer.headers["x-ratelimit-limit-tokens"] == "1000"
    assert answer.headers["x-ratelimit-remaining-tokens"] == str(1000 - PROMPT - 100)
    assert answer.headers["x-ratelimit-reset-tokens"].startswith(("23h", "24h"))
    assert of_day(budgeted)["used"] == PROMPT + 10


def test_choices_of_one_prompt_count_it_once(budgeted: httpx.Client) -> None:
    """In the budget, in the report, in the log's and the metrics' sense of tokens: as the answer's usage says."""
    answer = budgeted.post(CHAT, json=question(max_tokens=5, n=3)).json()
    assert answer["usage"]["prompt_tokens"] == PROMPT
    assert answer["usage"]["completion_tokens"] == 15
    assert of_day(budgeted)["used"] == answer["usage"]["total_tokens"] == PROMPT + 15
    lines = budgeted.get("/metrics").text.splitlines()
    assert f'jan_tokens_total{{kind="prompt_tokens",model="echo"}} {PROMPT}.0' in lines
    assert 'jan_tokens_total{kind="completion_tokens",model="echo"} 15.0' in lines


def test_prompts_of_one_request_count_each(budgeted: httpx.Client) -> None:
    """Two equal prompts, two choices of each: two prompts and four answers."""
    body = {"model": "echo", "prompt": ["one two", "one two"], "n": 2, "max_tokens": 2}
    usage = budgeted.post("/api/v1/completions", json=body).json()["usage"]
    assert usage == {**usage, "prompt_tokens": 4, "completion_tokens": 8}
    assert of_day(budgeted)["used"] == 12


def test_a_request_without_max_tokens_takes_the_whole_budget_and_gives_it_back(budgeted: httpx.Client) -> None:
    """It passes on an unused budget though the model's context is larger; then not, since it may take too much."""
    first = budgeted.post(CHAT, json=question())
    assert first.status_code == 200
    assert first.headers["x-ratelimit-remaining-tokens"] == "0"
    second = budgeted.post(CHAT, json=question())
    assert second.status_code == 429
    assert f"{1000 - PROMPT - 10} are left" in second.json()["error"]["message"]
    assert second.headers["x-should-retry"] == "false"
    assert budgeted.post(CHAT, json=question(max_tokens=10)).status_code == 200


def test_more_than_a_whole_budget_is_refused_for_good(budgeted: httpx.Client) -> None:
    """By max_tokens, or by the prompt: 429 that no SDK repeats, before a stream begins; nothing is kept back."""
    for body in (
        question(max_tokens=1500),
        question("x " * 1100),
        question("x " * 999, max_tokens=10, stream=True),
    ):
        refused = budgeted.post(CHAT, json=body)
        assert refused.status_code == 429
        assert refused.headers["content-type"] == "application/json"
        assert refused.headers["x-should-retry"] == "false"
        assert "retry-after" not in refused.headers
        assert "can never be served" in refused.json()["error"]["message"]
    assert of_day(budgeted)["used"] == 0
    assert budgeted.get(USAGE).json()["totals"]["requests"] == 0


def test_a_refused_request_gives_all_back(budgeted: httpx.Client) -> None:
    """A prompt that the model can't take costs nothing."""
    refused = budgeted.post(CHAT, json=question("x " * 5000, max_tokens=1))
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "context_length_exceeded"
    assert of_day(budgeted)["used"] == 0


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_fails_is_settled(budgeted: httpx.Client, stream: bool) -> None:
    """After three words the model fails: they and the prompt are counted, the rest is given back."""
    answer = budgeted.post(FAILING_CHAT, json=question(model="slow", max_tokens=500, stream=stream))
    assert answer.status_code == (200 if stream else 500)
    used = settles_at(budgeted, lambda used: used < 500)
    assert PROMPT + 3 <= used <= PROMPT + 10


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_gives_back(budgeted: httpx.Client, stream: bool) -> None:
    """In mid-answer, of a stream or of a whole one: what was made until then is counted, the rest is free."""
    body = question("word " * 400, model="slow", max_tokens=450, stream=stream)

    async def leave() -> None:
        headers = dict(budgeted.headers)
        async with httpx.AsyncClient(
            base_url=budgeted.base_url, headers=headers, timeout=60, trust_env=False
        ) as client:
            asking = asyncio.create_task(client.post(CHAT, json=body, timeout=60))
            async with asyncio.timeout(60):
                # Who leaves before the model has begun pays nothing.
                while value(budgeted, "jan_engine_completion_tokens_total", model="slow") < 3:
                    await asyncio.sleep(0.05)
            asking.cancel()
            await asyncio.wait({asking})

    asyncio.run(leave())
    used = settles_at(budgeted, lambda used: used < 850)
    assert 400 <= used < 850
    report = budgeted.get(USAGE).json()
    assert report["totals"]["total_tokens"] == used
    assert report["totals"]["prompt_tokens"] == 400


@pytest.mark.parametrize("stream", [False, True])
def test_who_never_got_a_slot_pays_nothing(start_limited: Start, tmp_path: Path, stream: bool) -> None:
    """Neither who waited for too long nor who left while waiting: the model has not read their prompts."""
    home = tmp_path / "own"
    home.mkdir()
    shutil.copy(counting.__file__, home)
    one = "{id: one, engine: counting.Counting, queue_timeout_seconds: 1, options: {slots: 1, gate: open}}"
    server = start_limited(f"limits: {{user: {{tokens_per_day: 2000}}}}\nmodels: [{one}]")
    body = question("word " * 150 + "gate " + "word " * 149, model="one", max_tokens=300)

    async def ask(client: httpx.Client) -> tuple[str, int]:
        options: dict[str, Any] = {"base_url": client.base_url, "headers": dict(client.headers), "timeout": 60}
        async with httpx.AsyncClient(trust_env=False, verify=tls(), **options) as caller:
            longest = asyncio.create_task(caller.post(CHAT, json=body))
            async with asyncio.timeout(60):
                while of_day(client)["used"] < 600:
                    await asyncio.sleep(0.05)
            leaving = asyncio.create_task(caller.post(CHAT, json={**body, "stream": stream}))
            async with asyncio.timeout(60):
                while of_day(client)["used"] < 1200:
                    await asyncio.sleep(0.05)
            leaving.cancel()
            await asyncio.wait({leaving})
            late = await caller.post(CHAT, json={**body, "stream": stream})
            (home / "open").touch()
            return late.text, (await longest).json()["usage"]["total_tokens"]

    with http_client(server, headers=bearer(server.admin_key)) as client:
        refusal, used = asyncio.run(ask(client))
        assert '"queue_timeout"' in refusal
        assert settles_at(client, lambda found: found <= used) == used
        totals = client.get(USAGE).json()["totals"]
        assert (totals["requests"], totals["total_tokens"]) == (1, used)


def test_reservations_of_requests_at_once_hold_one_budget(budgeted: httpx.Client) -> None:
    """Five requests for 300 each: three fit into 1000 with their prompts, the others are refused meanwhile."""
    body = question(model="slow", max_tokens=300)

    async def ask() -> list[int]:
        headers = dict(budgeted.headers)
        async with httpx.AsyncClient(
            base_url=budgeted.base_url, headers=headers, timeout=60, trust_env=False
        ) as client:
            answers = await asyncio.gather(*(client.post(CHAT, json=body, timeout=60) for _ in range(5)))
            return sorted(answer.status_code for answer in answers)

    assert asyncio.run(ask()) == [200, 200, 200, 429, 429]
    assert of_day(budgeted)["used"] == 3 * (PROMPT + 10)


# --- whose budget -----------------------------------------------------------------------------------


def test_anonymous_callers_have_the_budget_of_their_address(budgeted: httpx.Client) -> None:
    """Apart from that of the users there."""
    with httpx.Client(base_url=budgeted.base_url, timeout=60, trust_env=False) as stranger:
        assert stranger.post(CHAT, json=question(max_tokens=950)).status_code == 200
        assert stranger.post(CHAT, json=question(max_tokens=979)).status_code == 429
        assert budgeted.post(CHAT, json=question(max_tokens=979)).status_code == 200


def test_an_administrator_gives_a_user_a_budget(budgeted: httpx.Client) -> None:
    """It counts at once in place of the configured one; null brings that back."""
    me = budgeted.get("/api/v1/user/profile").json()["id"]
    changed = budgeted.patch(f"/api/v1/users/{me}", json={"tokens_per_day": 50, "tokens_per_minute": 40}).json()
    assert (changed["tokens_per_day"], changed["tokens_per_minute"]) == (50, 40)
    assert of_day(budgeted)["limit"] == 50
    refused = budgeted.post(CHAT, json=question(max_tokens=40))
    assert "user_tokens_per_minute" in refused.json()["error"]["message"]
    budgeted.patch(f"/api/v1/users/{me}", json={"tokens_per_day": None, "tokens_per_minute": None})
    assert of_day(budgeted)["limit"] == 1000
    assert budgeted.patch(f"/api/v1/users/{me}", json={"tokens_per_day": 0}).status_code == 400


def test_a_key_has_a_budget_of_its_own(budgeted: httpx.Client) -> None:
    """It is told, kept through rotation, and does not hold for the user's other keys."""
    made = budgeted.post(KEYS, json={"name": "small", "tokens_per_minute": 30, "tokens_per_day": 40}).json()
    assert (made["tokens_per_minute"], made["tokens_per_day"]) == (30, 40)
    small = bearer(made["key"])
    assert budgeted.post(CHAT, json=question(max_tokens=10), headers=small).status_code == 200
    refused = budgeted.post(CHAT, json=question(max_tokens=10), headers=small)
    assert refused.status_code == 429
    assert "'key_tokens_per_minute' is 30 tokens a minute for this API key" in refused.json()["error"]["message"]
    assert refused.headers["x-should-retry"] == "true"
    assert refused.headers["x-ratelimit-limit-tokens"] == "30"
    assert budgeted.post(CHAT, json=question(max_tokens=10)).status_code == 200
    rotated = budgeted.post(f"{KEYS}/{made['id']}/rotate").json()
    assert (rotated["tokens_per_minute"], rotated["tokens_per_day"]) == (30, 40)


def test_a_key_is_charged_to_its_makers_budget_too(budgeted: httpx.Client) -> None:
    """Keys that a key makes, or gets by rotating itself, have together no more than itself."""
    wanted = {"name": "x", "permissions": ["inference", "keys"], "tokens_per_minute": 30}
    small = budgeted.post(KEYS, json=wanted).json()
    for budget in ({"tokens_per_minute": 31}, {"tokens_per_minute": None}):
        refused = budgeted.post(KEYS, json={**wanted, **budget}, headers=bearer(small["key"]))
        assert refused.status_code == 403
        assert refused.json()["error"]["param"] == "tokens_per_minute"
    child = budgeted.post(KEYS, json=wanted, headers=bearer(small["key"])).json()
    grandchild = budgeted.post(KEYS, json=wanted, headers=bearer(child["key"])).json()
    rotated = budgeted.post(f"{KEYS}/{small['id']}/rotate", headers=bearer(small["key"])).json()
    assert budgeted.post(CHAT, json=question(max_tokens=10), headers=bearer(child["key"])).status_code == 200
    for key in (small, child, grandchild, rotated):
        refused = budgeted.post(CHAT, json=question(max_tokens=10), headers=bearer(key["key"]))
        assert refused.status_code == 429
    named = budgeted.post(CHAT, json=question(max_tokens=10), headers=bearer(grandchild["key"])).json()["error"]
    assert "'maker_tokens_per_minute' is 30 tokens a minute for the key that made this one" in named["message"]
    assert budgeted.post(CHAT, json=question(max_tokens=10)).status_code == 200


def test_the_budget_of_every_key_is_not_multiplied(start_limited: Start) -> None:
    """A key without a budget of its own has the configured one, and shares it with the keys that it makes."""
    server = start_limited("limits: {key: {tokens_per_day: 30}}")
    with http_client(server, headers=bearer(server.admin_key)) as admin:
        made = [admin.post(KEYS, json={"name": "x", "permissions": ["inference"]}).json() for _ in range(3)]
        assert admin.post(CHAT, json=question(max_tokens=10)).status_code == 200
        for key in made:
            refused = admin.post(CHAT, json=question(max_tokens=10), headers=bearer(key["key"]))
            assert refused.status_code == 429, refused.text


def test_keys_make_keys_only_so_far(budgeted: httpx.Client) -> None:
    """A line of keys that made one another ends, because each is charged to all before it; rotation adds none."""
    wanted = {"name": "x", "permissions": ["keys"]}
    key = budgeted.post(KEYS, json=wanted).json()["key"]
    for _ in range(12):
        made = budgeted.post(KEYS, json=wanted, headers=bearer(key)).json()
        if "error" in made:
            break
        key = budgeted.post(f"{KEYS}/{made['id']}/rotate", headers=bearer(made["key"])).json()["key"]
    assert "Too many keys made one another in a row" in made["error"]["message"]


def test_an_error_before_the_model_is_asked_tells_of_tokens_too(budgeted: httpx.Client) -> None:
    """A 400 of a request to a model has the headers of the budget; of other requests none has them."""
    assert budgeted.post(CHAT, json={}).headers["x-ratelimit-remaining-tokens"] == "1000"
    assert "x-ratelimit-limit-tokens" not in budgeted.get("/api/v1/models").headers

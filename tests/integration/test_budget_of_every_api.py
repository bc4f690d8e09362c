"""One budget of tokens over every API that generates or embeds, asked at once in two processes of one store."""

import asyncio
import json
from collections.abc import Callable
from functools import partial
from itertools import cycle
from typing import Any

import httpx
import pytest
from support.conversation import bearer
from support.lean_http import lean_client
from support.patience import until
from support.server import ServerProcess

pytestmark = pytest.mark.slow

BUDGET = 1000
# To the echo model each word is a token; each is said again.
WORDS = "one two three four five six seven eight nine ten"
USED = 20
LIMIT = 20
# What a summary takes at most: its question alone is longer than those of the others, and it is said again.
SUMMARY = 120
_MESSAGES = [{"role": "user", "content": WORDS}]
_SETTINGS = f"""
limits: {{counted_in: store, inference: "off", user: {{tokens_per_day: {BUDGET}}}}}
models:
  - {{id: echo, engine: echo}}
  - {{id: words, engine: echo, options: {{dimensions: 8}}}}
  - {{id: short, engine: echo, options: {{context: {SUMMARY}}}}}
"""
_STREAMED = {"stream": True, "stream_options": {"include_usage": True}}


def asked(name: str, limit: int) -> tuple[str, dict[str, Any]]:
    """The path and the body of a request whose answer has at most ``limit`` tokens."""
    path, body = {
        "chat": ("/v1/chat/completions", {"messages": _MESSAGES, "max_tokens": limit}),
        "chat streamed": ("/v1/chat/completions", {"messages": _MESSAGES, "max_tokens": limit, **_STREAMED}),
        "completions": ("/v1/completions", {"prompt": WORDS, "max_tokens": limit}),
        "completions streamed": ("/v1/completions", {"prompt": WORDS, "max_tokens": limit, **_STREAMED}),
        "responses": ("/v1/responses", {"input": WORDS, "max_output_tokens": limit}),
        "responses streamed": ("/v1/responses", {"input": WORDS, "max_output_tokens": limit, "stream": True}),
        "responses not stored": ("/v1/responses", {"input": WORDS, "max_output_tokens": limit, "store": False}),
        "responses in the background": (
            "/v1/responses",
            {"input": WORDS, "max_output_tokens": limit, "background": True},
        ),
        "compact": ("/v1/responses/compact", {"model": "short", "input": WORDS}),
        "messages": ("/v1/messages", {"messages": _MESSAGES, "max_tokens": limit}),
        "messages streamed": ("/v1/messages", {"messages": _MESSAGES, "max_tokens": limit, "stream": True}),
        "ollama chat": ("/api/chat", {"messages": _MESSAGES, "options": {"num_predict": limit}}),
        "ollama chat whole": (
            "/api/chat",
            {"messages": _MESSAGES, "options": {"num_predict": limit}, "stream": False},
        ),
        "ollama generate": ("/api/generate", {"prompt": WORDS, "options": {"num_predict": limit}}),
        # As many tokens as the others may take.
        "embeddings": ("/v1/embeddings", {"model": "words", "input": [WORDS] * 3}),
        "rerank": ("/v1/rerank", {"model": "words", "query": WORDS, "documents": [WORDS] * 2}),
        "score": ("/v1/score", {"model": "words", "text_1": WORDS, "text_2": [WORDS] * 2}),
        "ollama embed": ("/api/embed", {"model": "words", "input": [WORDS] * 3}),
        "ollama embeddings": ("/api/embeddings", {"model": "words", "prompt": " ".join([WORDS] * 3)}),
    }[name]
    return path, {"model": "echo", **body}


NAMES = (
    "chat",
    "chat streamed",
    "completions",
    "completions streamed",
    "responses",
    "responses streamed",
    "responses not stored",
    "responses in the background",
    "compact",
    "messages",
    "messages streamed",
    "ollama chat",
    "ollama chat whole",
    "ollama generate",
    "embeddings",
    "rerank",
    "score",
    "ollama embed",
    "ollama embeddings",
)


def usage_of(client: httpx.Client, answer: httpx.Response) -> int:
    """The tokens that an answer says it took, in the form of whichever API it is of."""
    if answer.request.url.path == "/api/embeddings":
        return 3 * len(WORDS.split())  # which Ollama's form does not say
    if '"background":true' in answer.text:
        return usage_of_background(client, answer.json()["id"])
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines()]
    for event in reversed([json.loads(line) for line in lines if line.startswith("{")]):
        if "prompt_eval_count" in event:
            return int(event["prompt_eval_count"] + event.get("eval_count", 0))
        within = event["response"] if isinstance(event.get("response"), dict) else event
        if usage := within.get("usage"):
            return int(usage.get("total_tokens") or usage["input_tokens"] + usage["output_tokens"])
    raise AssertionError(f"no usage in {answer.text}")


def usage_of_background(client: httpx.Client, own: str) -> int:
    """The tokens that a response took once it has ended. It fails without any if the budget has no room then."""
    url = f"/v1/responses/{own}"
    assert until(lambda: client.get(url).json()["status"] not in ("queued", "in_progress"))
    found = client.get(url).json()
    if found["status"] == "failed":
        assert (found["error"]["code"], found["usage"]) == ("rate_limit_exceeded", None)
        return 0
    return int(found["usage"]["total_tokens"])


def of_day(client: httpx.Client) -> int:
    """What the ledger has of the user's day: what was used and what is reserved."""
    limits = client.get("/v1/usage").json()["limits"]
    (used,) = (limit["used"] for limit in limits if limit["name"] == "user_tokens_per_day")
    return int(used)


def ledger_has(client: httpx.Client, tokens: int) -> bool:
    """True if nothing is reserved, and so many tokens were used."""
    return of_day(client) == tokens


def report_has(client: httpx.Client, tokens: int, requests: int) -> bool:
    """True if the usage of the day is so many tokens and requests."""
    totals = client.get("/v1/usage").json()["totals"]
    return (totals["total_tokens"], totals["requests"]) == (tokens, requests)


async def ask_at_once(servers: list[ServerProcess], requests: int) -> list[httpx.Response]:
    """Send requests of all kinds together, in turn to each of the servers."""
    headers = bearer(servers[0].admin_key)

    async def ask(number: int) -> httpx.Response:
        # All kinds go to each server, whose number is not the same every time.
        name, server = NAMES[number % len(NAMES)], servers[number // len(NAMES) % len(servers)]
        path, body = asked(name, LIMIT)
        async with lean_client(server.url, headers) as client:
            return await client.post(path, json=body)

    return await asyncio.gather(*(ask(number) for number in range(requests)))


def spend_the_rest(client: httpx.Client) -> list[int]:
    """Ask each API in turn until one is refused; what the answers say that they took."""
    told: list[int] = []
    for name in cycle(name for name in NAMES if name != "compact"):
        path, body = asked(name, LIMIT)
        answer = client.post(path, json=body)
        if answer.status_code != 200:
            assert answer.status_code == 429, (name, answer.text)
            return told
        told.append(usage_of(client, answer))
        assert len(told) <= BUDGET // USED, "no request was refused"
    raise AssertionError("there is no API")


def test_all_apis_together_stay_within_one_budget(start_limited: Callable[..., ServerProcess]) -> None:
    """60 requests at once would take over 1,200 tokens. The answers, the ledger and the report have the same sum,
    then and when the rest is spent. No API goes on from there."""
    servers = [start_limited(_SETTINGS, folder="shared") for _ in range(2)]
    answers = asyncio.run(ask_at_once(servers, 60))
    assert {answer.status_code for answer in answers} == {200, 429}
    one, other = (
        httpx.Client(base_url=server.url, headers=bearer(servers[0].admin_key), timeout=60, trust_env=False)
        for server in servers
    )
    with one, other:
        told = [tokens for answer in answers if answer.status_code == 200 and (tokens := usage_of(one, answer))]
        for client in (one, other):
            assert until(partial(ledger_has, client, sum(told))), (of_day(client), sum(told))
        assert sum(told) <= BUDGET
        told += spend_the_rest(other)
        # The next may take 30.
        assert BUDGET - USED // 2 - LIMIT < sum(told) <= BUDGET
        for client in (one, other):
            for name in NAMES:
                path, body = asked(name, LIMIT)
                refused = client.post(path, json=body)
                assert refused.status_code == 429, (name, refused.text)
            assert until(partial(ledger_has, client, sum(told))), (of_day(client), sum(told))
            assert until(partial(report_has, client, sum(told), len(told))), client.get("/v1/usage").text

"""``store``: the speed of conversations and of lists as they grow."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import msgspec

from jan.bench.helper_processes import LoadClient, load_client
from jan.bench.load_generator import LoadJob
from jan.bench.ours import admin_key, call, echo_model, jan_server
from jan.bench.plan import Plan, Stage
from jan.bench.processes import ServerUnderTest
from jan.bench.raw_http import bearer, request
from jan.bench.results import Column, Result, Row, Target, percentile
from jan.bench.rounds import Comparison, Measure

ABOUT = (
    "Conversations in SQLite, through HTTP, one request after the other: a message appended to a conversation, "
    "its last ten messages read, and the last ten conversations listed, each at several sizes."
)
COLUMNS = (
    Column("p50", "p50 ms", 2, 1e3),
    Column("p95", "p95 ms", 2, 1e3),
    Column("per_second", "requests / s"),
)
_CONVERSATIONS = "/v1/conversations"
_APPEND, _READ, _LIST = "append a message", "read ten messages", "list ten conversations"
_FLAT = 1.3
_PER_SECOND = 100
_QUICK = 5
# Messages are appended to these in turn, so that none grows much.
_SMALL_ONES = 50
_CONTENT = "A line of text that is about as long as what people write to each other. " * 3
_FILLING_CONNECTIONS = 8


def run(plan: Plan) -> Result:
    """Measure conversations and lists of several sizes."""
    sizes = (10, 30, 60) if plan.quick else (10, 1_000, 5_000)
    lists = (10, 40) if plan.quick else (10, 10_000)
    rows: list[Row] = []
    with ExitStack() as stack:
        stage = Stage(stack, plan)
        client = stage.enter(load_client())
        bench = _Bench(client, plan.sized(_PER_SECOND, _QUICK))
        cases = plan.chosen((_APPEND, _READ, _LIST))
        if _APPEND in cases or _READ in cases:
            rows += _messages(stage, plan, bench, sizes, cases)
        if _LIST in cases:
            rows += _lists(stage, plan, bench, lists)
    worst = max((row.ratio.median for row in rows if row.ratio), default=None)
    return Result(
        scenario="store",
        about=ABOUT,
        headline="p50",
        columns=COLUMNS,
        rows=tuple(rows),
        targets=(Target.at_most("p50 flat within 1.3 times", _FLAT, worst),),
        ratio_title="this / at 10",
        missing=stage.missing,
    )


class _Bench(msgspec.Struct, frozen=True):
    client: LoadClient
    count: int

    def measure(self, server: ServerUnderTest, requests: Sequence[bytes]) -> Measure:
        """Measure requests that are sent in turn."""

        def once() -> Mapping[str, float]:
            job = LoadJob(port=server.port, requests=tuple(requests), repeats=self.count)
            outcome = self.client.run(job)
            return {
                "p50": percentile(outcome.latencies, 0.5),
                "p95": percentile(outcome.latencies, 0.95),
                "per_second": outcome.answers / outcome.seconds,
            }

        return once


def _messages(stage: Stage, plan: Plan, bench: _Bench, sizes: Sequence[int], cases: Sequence[str]) -> list[Row]:
    """Measure appending and reading, in one store with conversations of all sizes."""
    server = stage.enter(jan_server(plan.folder, [echo_model()]))
    key = admin_key(server)
    small, *others = sizes
    plan.say("importing conversations")
    ids = {small: [_import(server, key, small) for _ in range(_SMALL_ONES)]}
    ids |= {size: [_import(server, key, size)] for size in others}
    rows: list[Row] = []
    for case in (case for case in (_APPEND, _READ) if case in cases):
        make = _append if case == _APPEND else _read
        measures = {_at(n): bench.measure(server, [make(one, key) for one in ids[n]]) for n in sizes}
        rows += stage.alternate(case, measures, Comparison("p50", _at(small), base_first=False))
    return rows


def _lists(stage: Stage, plan: Plan, bench: _Bench, sizes: Sequence[int]) -> list[Row]:
    """Measure lists, in one store for each number of conversations."""
    measures = {}
    for size in sizes:
        server = stage.enter(jan_server(plan.folder, [echo_model()]))
        key = admin_key(server)
        plan.say(f"making {size} conversations")
        new = request(_CONVERSATIONS, {"title": "One of many"}, headers=bearer(key))
        connections = min(_FILLING_CONNECTIONS, size)
        job = LoadJob(server.port, (new,), connections=connections, repeats=size // connections, timeout=600)
        bench.client.run(job)
        listing = request(f"{_CONVERSATIONS}?limit=10", headers=bearer(key))
        measures[_at(size)] = bench.measure(server, [listing])
    return stage.alternate(_LIST, measures, Comparison("p50", _at(sizes[0]), base_first=False))


def _at(size: int) -> str:
    return f"at {size:,}"


def _append(conversation: str, key: str) -> bytes:
    body = {"role": "user", "content": _CONTENT}
    return request(f"{_CONVERSATIONS}/{conversation}/messages", body, headers=bearer(key))


def _read(conversation: str, key: str) -> bytes:
    return request(f"{_CONVERSATIONS}/{conversation}/messages?limit=10&order=desc", headers=bearer(key))


def _import(server: ServerUnderTest, key: str, size: int) -> str:
    """Import a conversation of ``size`` messages and return its id."""
    lines: list[dict[str, object]] = [
        {
            "object": "conversation",
            "id": "c",
            "title": f"{size} messages",
            "model": None,
            "metadata": {},
            "created_at": 1767225600,
            "updated_at": 1767225600,
            "head_id": f"m{size}",
            "message_count": size,
        }
    ]
    lines += [_message(number) for number in range(1, size + 1)]
    data = msgspec.json.Encoder().encode_lines(lines)
    made: str = call(server, f"{_CONVERSATIONS}/import", data, key, "application/jsonl")["id"]
    return made


def _message(number: int) -> dict[str, object]:
    return {
        "object": "conversation.message",
        "id": f"m{number}",
        "conversation_id": "c",
        "parent_id": f"m{number - 1}" if number > 1 else None,
        "sequence": number,
        "role": "user" if number % 2 else "assistant",
        "content": _CONTENT,
        "status": "complete",
        "created_at": 1767225600,
        "updated_at": 1767225600,
    }

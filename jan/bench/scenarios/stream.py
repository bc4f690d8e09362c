"""``stream``: the echo engine at full speed; how many tokens a CPU second of the server delivers."""

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from jan.bench.client import LoadClient, load_client
from jan.bench.errors import BenchError
from jan.bench.limit import BARE, bare_server
from jan.bench.load import Job
from jan.bench.ours import CHAT, echo_model, jan_server
from jan.bench.peers.frameworks import AIOHTTP, FASTAPI, framework_server
from jan.bench.peers.litellm import FRAMES_AROUND as LITELLM_FRAMES_AROUND
from jan.bench.peers.litellm import KEY as LITELLM_KEY
from jan.bench.peers.litellm import LITELLM, litellm_proxy
from jan.bench.plan import Plan, Stage
from jan.bench.processes import Server
from jan.bench.recording import FRAMES_AROUND, chat_body, record
from jan.bench.results import Column, Result, Row, Target, ratio_to
from jan.bench.rounds import OURS, Comparison, Measure
from jan.bench.wire import bearer, request

ABOUT = (
    "The echo engine; what a CPU second of the server's process delivers, engine included. Beside it: a bare "
    "asyncio protocol that writes the same bytes from memory, frameworks that encode the same chunks, and "
    "LiteLLM's proxy in front of the bare protocol, with shorter streams. At full speed the engine runs "
    "ahead, and our server then sends the frames of several tokens in one write. "
    "Paced, there is a token for each stream every 10 ms, as of a fast GPU."
)
COLUMNS = (
    Column("per_cpu_second", "tokens / CPU s"),
    Column("cpu_per_token", "CPU µs / token", 1, 1e6),
    Column("frames_per_cpu_second", "frames / CPU s"),
    Column("per_second", "tokens / s"),
    Column("delivered", "delivered / generated", 2),
)
_FULL = "64 streams"
_PACED = "64 streams, paced"
_STEP_SECONDS = 0.01
#: Streams at once, and seconds between two tokens of one.
_CASES = MappingProxyType(
    {
        "1 stream": (1, 0.0),
        "16 streams": (16, 0.0),
        _FULL: (64, 0.0),
        "256 streams": (256, 0.0),
        _PACED: (64, _STEP_SECONDS),
    }
)
_PER_SECOND = 40_000
_QUICK = 300
_LITELLM_PART = 0.05
_LEAST_TOKENS = 30
# A prompt short enough to read, said as often as the longest answer needs.
_WORDS = 50


class _Work(NamedTuple):
    """``tokens``: of each stream; ``step_seconds``: between two of them."""

    streams: int
    tokens: int
    step_seconds: float


class _Contestant(NamedTuple):
    """``around``: frames of its streams that are no tokens; ``part``: of the work, for who is much slower."""

    server: Server
    around: int = FRAMES_AROUND
    key: str = ""
    part: float = 1.0


def run(plan: Plan) -> Result:
    """Measure."""
    rows: list[Row] = []
    with ExitStack() as stack:
        stage = Stage(stack, plan)
        contestants, client = _start(stage, plan), stage.enter(load_client())
        for case in plan.chosen(tuple(_CASES)):
            streams, step_seconds = _CASES[case]
            work = _Work(streams, _tokens(plan, streams, step_seconds), step_seconds)
            measures = {name: _measure(client, one, work) for name, one in contestants.items()}
            rows += stage.alternate(case, measures, Comparison("per_cpu_second"))
    return _result(rows, stage.missing)


def _tokens(plan: Plan, streams: int, step_seconds: float) -> int:
    """Of each stream."""
    if step_seconds:
        return plan.sized(int(2 / step_seconds), 5)
    return max(2, plan.sized(_PER_SECOND, _QUICK) // streams)


def _start(stage: Stage, plan: Plan) -> dict[str, _Contestant]:
    """Ours, the limit and the peers, all ready."""
    plan.say("starting our server and the limit")
    repeat = plan.sized(_PER_SECOND, _QUICK) // _WORDS + 1
    models = [echo_model(repeat=repeat), echo_model("paced", repeat=repeat, step_seconds=_STEP_SECONDS)]
    ours = stage.enter(jan_server(plan.folder, models))
    recording = record(ours.port, "paced")
    bare = stage.enter(bare_server(recording, plan.folder))
    contestants = {OURS: _Contestant(ours), BARE: _Contestant(bare)}
    template = plan.folder / "chunk.json"
    template.write_bytes(recording.template())
    for peer in (FASTAPI, AIOHTTP):
        made = stage.try_peer(peer.name, partial(framework_server, peer, template, plan.folder, plan.cache))
        if made is not None:
            contestants[peer.name] = _Contestant(made)
    proxy = partial(litellm_proxy, bare, ("echo", "paced"), plan.folder, plan.cache)
    made = stage.try_peer(LITELLM.name, proxy)
    if made is not None:
        contestants[LITELLM.name] = _Contestant(made, LITELLM_FRAMES_AROUND, LITELLM_KEY, _LITELLM_PART)
    return contestants


def _measure(client: LoadClient, contestant: _Contestant, work: _Work) -> Measure:
    server, streams, step_seconds = contestant.server, work.streams, work.step_seconds
    tokens = min(work.tokens, max(_LEAST_TOKENS, int(work.tokens * contestant.part)))
    body = {**chat_body("paced" if step_seconds else "echo", _WORDS), "max_tokens": tokens}
    headers = bearer(contestant.key) if contestant.key else {}
    # Ours has a model for it; the others are told.
    data = request(CHAT, {**body, "step_seconds": step_seconds} if step_seconds else body, headers=headers)
    generated = streams * tokens

    def once() -> Mapping[str, float]:
        before = server.cpu_seconds()
        outcome = client.run(Job(port=server.port, requests=(data,), connections=streams))
        cpu = server.cpu_seconds() - before
        delivered = outcome.frames - contestant.around * streams
        if server.name == OURS and outcome.tokens != generated:
            raise BenchError(f"{outcome.tokens} tokens were generated, and {generated} asked for")
        if server.name != OURS and delivered != generated:
            raise BenchError(f"{delivered} frames came of {generated}")
        return {
            "per_cpu_second": generated / cpu,
            "cpu_per_token": cpu / generated,
            "frames_per_cpu_second": delivered / cpu,
            "per_second": generated / outcome.seconds,
            "delivered": delivered / generated,
        }

    return once


def _result(rows: list[Row], missing: dict[str, str]) -> Result:
    delivered = [row.values["delivered"].median for row in rows if row.who == OURS]
    targets = []
    for case in (_FULL, _PACED):
        targets += [
            Target.at_least(f"{case}: at least 0.6 of the bare protocol", 0.6, ratio_to(rows, case, BARE)),
            Target.at_least(f"{case}: at least 2 times {FASTAPI.name}", 2.0, ratio_to(rows, case, FASTAPI.name)),
        ]
    targets.append(Target.at_least("delivered / generated 1.00", 0.995, min(delivered, default=None)))
    return Result(
        scenario="stream",
        about=ABOUT,
        headline="per_cpu_second",
        columns=COLUMNS,
        rows=tuple(rows),
        targets=tuple(targets),
        ratio_title="ours / this",
        missing=missing,
    )

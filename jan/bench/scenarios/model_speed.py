"""``model``: the real model on the CPU through HTTP, beside the same model driven straight, and other servers."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from types import MappingProxyType

import msgspec

from jan.bench.bench_error import BenchError
from jan.bench.helper_processes import LineProgram, LoadClient, line_program, load_client
from jan.bench.load_generator import LoadJob
from jan.bench.ours import COMPLETIONS, jan_server
from jan.bench.peers.llama import LLAMA_CPP_PYTHON, LLAMA_SERVER, XLLAMACPP, Load, llama_peers
from jan.bench.plan import Plan, Stage
from jan.bench.processes import ServerUnderTest
from jan.bench.raw_http import request
from jan.bench.results import OURS, Column, Result, Row, Target, percentile, ratio_to
from jan.bench.rounds import Comparison, Measure
from jan.bench.straight_job import Straight, StraightOutcome
from jan.errors import ConfigurationError

ABOUT = (
    "The bundled model through HTTP, streamed, 64 tokens an answer, prompts that share no beginning; beside a "
    "bare loop over the same library in a process of its own, our server with the model on a thread, and "
    "llama.cpp's own servers over the same file."
)
STRAIGHT = "in-process"
THREAD = "jan, on a thread"
COLUMNS = (
    Column("per_second", "tokens / s", 1),
    Column("first", "first token ms", 0, 1e3),
    Column("gap", "inter-token p95 ms", 0, 1e3),
)
_CASES = MappingProxyType({"1 stream": 1, "4 streams": 4, "8 streams": 8})
_SLOTS = 8
_TOKENS = 64
_QUICK_TOKENS = 4
_SHARE = 0.97
_MODEL = "bundled"


def run(plan: Plan) -> Result:
    """Measure all contestants. Raises BenchError if the model or its library is not installed."""
    rows: list[Row] = []
    with ExitStack() as stack:
        stage = Stage(stack, plan)
        measures = _start(stage, plan)
        for case in plan.chosen(tuple(_CASES)):
            measure_all = {name: make(_CASES[case]) for name, make in measures.items()}
            rows += stage.alternate(case, measure_all, Comparison("per_second"))
    return Result(
        scenario="model",
        about=ABOUT,
        headline="per_second",
        columns=COLUMNS,
        rows=tuple(rows),
        targets=_targets(rows),
        ratio_title="ours / this",
        missing=stage.missing,
    )


def _start(stage: Stage, plan: Plan) -> dict[str, Callable[[int], Measure]]:
    """Start the contestants. Returns by name what makes the measure for a number of streams."""
    file, work = _model_file(), _Work(_QUICK_TOKENS if plan.quick else _TOKENS)
    client = stage.enter(load_client())
    plan.say("loading the model three times: for our server in a process and on a thread, and straight")
    options = {"model": _MODEL, "context": 2048, "slots": _SLOTS}
    model = {"id": "model", "engine": "llamacpp", "options": options}
    ours = stage.enter(jan_server(plan.folder, [model]))
    threaded = stage.enter(jan_server(plan.folder, [{**model, "isolation": "thread"}], name="threaded"))
    straight = stage.enter(line_program("jan.bench.straight", _MODEL))
    made: dict[str, Callable[[int], Measure]] = {
        STRAIGHT: lambda streams: work.straight(straight, streams),
        OURS: lambda streams: work.served(client, ours, streams),
        THREAD: lambda streams: work.served(client, threaded, streams),
    }
    for name, start in llama_peers(Load.of(file, _SLOTS), plan.folder, plan.cache).items():
        server = stage.try_peer(name, start)
        if server is not None:
            made[name] = lambda streams, server=server: work.served(client, server, streams)  # type: ignore[misc]
    return made


def _model_file() -> Path:
    try:
        from jan.engine.backends.llamacpp.gguf_files import resolve_model_file

        return resolve_model_file(_MODEL)
    except ModuleNotFoundError as error:
        raise BenchError(f"The package '{error.name}' is missing: pip install 'jan-server[cpu]'.") from error
    except ConfigurationError as error:
        raise BenchError(error.message) from error


class _Work:
    """Makes prompts of which no two begin alike, so that no cache helps, and measures their answers."""

    def __init__(self, tokens: int) -> None:
        self._tokens = tokens
        self._numbers = count()

    def _prompts(self, streams: int) -> tuple[str, ...]:
        return tuple(
            f"{next(self._numbers)}: Once upon a time in a distant land there lived" for _ in range(streams)
        )

    def straight(self, program: LineProgram, streams: int) -> Measure:
        """Measure the model without a server."""

        def once() -> Mapping[str, float]:
            program.send(Straight(self._prompts(streams), self._tokens))
            outcome = msgspec.json.decode(program.receive(), type=StraightOutcome)
            return {
                "per_second": streams * self._tokens / outcome.seconds,
                "first": outcome.first,
                "gap": percentile(outcome.gaps, 0.95),
            }

        return once

    def served(self, client: LoadClient, server: ServerUnderTest, streams: int) -> Measure:
        """Measure a server through HTTP."""

        def once() -> Mapping[str, float]:
            requests = tuple(request(COMPLETIONS, self._body(prompt)) for prompt in self._prompts(streams))
            outcome = client.run(LoadJob(port=server.port, requests=requests, connections=streams, watch=True))
            # Some servers do not count a stream's tokens: assume as many as they were asked for.
            tokens = outcome.tokens or streams * self._tokens
            return {
                "per_second": tokens / outcome.seconds,
                "first": percentile(outcome.first, 0.5),
                "gap": percentile(outcome.gaps, 0.95),
            }

        return once

    def _body(self, prompt: str) -> dict[str, object]:
        return {
            "model": "model",
            "prompt": prompt,
            "max_tokens": self._tokens,
            "temperature": 0.7,
            # Forbid the tokens that end an answer.
            "logit_bias": {"0": -100, "2": -100},
            "stream": True,
            "stream_options": {"include_usage": True},
        }


def _targets(rows: Sequence[Row]) -> tuple[Target, ...]:
    targets = [
        Target.at_least(f"{case}: at least 0.97 of {who}", _SHARE, ratio_to(rows, case, who))
        for case in _CASES
        for who in (STRAIGHT, THREAD)
    ]
    for peer in (LLAMA_SERVER, XLLAMACPP, LLAMA_CPP_PYTHON):
        ratios = [ratio_to(rows, case, peer.name) for case in _CASES]
        least = min((ratio for ratio in ratios if ratio is not None), default=None)
        targets.append(Target.at_least(f"no worse than {peer.name}", 1.0, least))
    return tuple(targets)

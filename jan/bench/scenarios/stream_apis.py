"""``stream --api``: the same streams over several APIs of our server, beside chat completions."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import msgspec

from jan.bench.contestants import Contestant, Streams, streaming_models
from jan.bench.helper_processes import load_client
from jan.bench.measured_streams import STREAM_COLUMNS, measured, sized
from jan.bench.ours import admin_key, jan_server
from jan.bench.plan import Plan, Stage
from jan.bench.processes import ServerUnderTest
from jan.bench.results import Result, Row, Target, row_of
from jan.bench.rounds import Comparison
from jan.bench.streamed_apis import CHAT_API, RESPONSES_API, STREAMED_APIS

_ABOUT = (
    "The same words from the same server over each API, in turns; nothing is stored. The ratio is of the CPU time "
    "a token, set-up included, to that of chat completions. `responses, stored` are those of a user, stored while "
    "they are made."
)
_STORED = "responses, stored"
_MOST = 1.15
_CASES: Mapping[str, Streams] = {
    "64 streams": Streams(64),
    "64 streams, paced": Streams(64, lengths=(20, 600), step_seconds=0.01),
}


def run_apis(plan: Plan) -> Result:
    """Measure the APIs that the plan names, and chat completions, in the cases of the plan."""
    rows: list[Row] = []
    with ExitStack() as stack:
        stage = Stage(stack, plan)
        plan.say("starting our server")
        longest = max(max(streams.lengths) for streams in _CASES.values())
        server = stage.enter(jan_server(plan.folder, streaming_models(slots=64, longest=longest)))
        contestants = _contestants(server, plan.apis)
        client = stage.enter(load_client())
        for case in plan.chosen(tuple(_CASES)):
            streams = sized(_CASES[case], plan)
            measures = {name: measured(client, one, streams) for name, one in contestants.items()}
            rows += stage.alternate(case, measures, Comparison("cpu_per_token", CHAT_API, base_first=False))
    return Result(
        # Its tables stand beside those of `stream` in a document, not in their place.
        scenario="stream-apis",
        about=_ABOUT,
        headline="cpu_per_token",
        columns=STREAM_COLUMNS,
        rows=tuple(rows),
        targets=tuple(_target(rows, case, api) for case in _CASES for api in plan.apis if api != CHAT_API),
        ratio_title="this / chat",
        missing=stage.missing,
    )


def _contestants(server: ServerUnderTest, apis: Sequence[str]) -> dict[str, Contestant]:
    """Return chat completions and the other APIs; responses both stored and not."""
    made = {}
    for name in dict.fromkeys((CHAT_API, *apis)):
        api = STREAMED_APIS[name]
        made[name] = Contestant(server, api.around, ours=True, api=api)
    if RESPONSES_API in made:
        stored = msgspec.structs.replace(made[RESPONSES_API], key=admin_key(server), fields={"store": True})
        made[_STORED] = stored
    return made


def _target(rows: Sequence[Row], case: str, api: str) -> Target:
    row = row_of(rows, case, api)
    value = None if row is None or row.ratio is None else row.ratio.median
    return Target.at_most(f"{case}: CPU a token of {api} at most {_MOST:g} of chat's", _MOST, value)

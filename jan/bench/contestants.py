"""The servers that stream beside each other: ours, that of a commit before, the limit, and peers."""

from functools import partial
from typing import Any

import msgspec

from jan.bench.former import FORMER, try_former
from jan.bench.limit import BARE, bare_server
from jan.bench.load_generator import LoadJob
from jan.bench.ours import echo_model, jan_server
from jan.bench.peers.frameworks import AIOHTTP, FASTAPI, framework_server
from jan.bench.peers.litellm import FRAMES_AROUND as LITELLM_FRAMES_AROUND
from jan.bench.peers.litellm import KEY as LITELLM_KEY
from jan.bench.peers.litellm import LITELLM, litellm_proxy
from jan.bench.plan import Plan, Stage
from jan.bench.processes import ServerUnderTest
from jan.bench.raw_http import bearer, request
from jan.bench.recording import FRAMES_AROUND, Recording, record
from jan.bench.results import OURS
from jan.bench.streamed_apis import CHAT_API, STREAMED_APIS, WORDS, StreamedApi

_FULL_SPEED, _PACED = "echo", "paced"
_STEP_SECONDS = 0.01
_LITELLM_TOKENS = 30
_LITELLM_STREAMS = 64


class Streams(msgspec.Struct, frozen=True):
    """Streams of one case.

    ``at_once``: connections, each with ``repeats`` streams in turn. ``lengths``: tokens of a stream; the longest
    ones run once, the others ``short_runs`` times. ``step_seconds``: between two tokens of a stream, 0 for full
    speed.
    """

    at_once: int
    lengths: tuple[int, ...] = (20, 437)
    step_seconds: float = 0.0
    repeats: int = 1
    short_runs: int = 1


class Contestant(msgspec.Struct, frozen=True):
    """A server that streams.

    - ``around``: frames of its streams that are not tokens.
    - ``key``: the API key for its requests.
    - ``ours``: it reports its number of tokens, and may send several in one frame to a
      client that is behind. Each frame of other servers is a token.
    - ``lengths``, ``most_streams``: its own limits, if it is too slow for those of the others.
    - ``api``: the API that is asked. ``fields``: more fields of the request.
    """

    server: ServerUnderTest
    around: int = FRAMES_AROUND
    key: str = ""
    ours: bool = False
    lengths: tuple[int, ...] = ()
    most_streams: int = 1_000_000
    api: StreamedApi = STREAMED_APIS[CHAT_API]
    fields: dict[str, object] = {}


def streaming_models(*, slots: int, longest: int) -> list[dict[str, Any]]:
    """Configure a model of full speed and a paced one, for ``slots`` streams of at most ``longest`` tokens."""
    options = {"slots": slots, "repeat": -(-longest // WORDS)}
    return [echo_model(_FULL_SPEED, **options), echo_model(_PACED, **options, step_seconds=_STEP_SECONDS)]


def start_contestants(stage: Stage, plan: Plan, *, slots: int, longest: int) -> dict[str, Contestant]:
    """Start all contestants, for at most ``slots`` streams at once of at most ``longest`` tokens."""
    plan.say("starting our server and the limit")
    models = streaming_models(slots=slots, longest=longest)
    ours = stage.enter(jan_server(plan.folder, models))
    contestants = {OURS: Contestant(ours, ours=True)}
    former = try_former(stage, plan, models)
    if former is not None:
        contestants[FORMER] = Contestant(former, ours=True)
    recording = record(ours.port, _PACED)
    bare = stage.enter(bare_server(recording, plan.folder))
    contestants[BARE] = Contestant(bare)
    return {**contestants, **_start_peers(stage, plan, recording, bare)}


def _start_peers(
    stage: Stage, plan: Plan, recording: Recording, upstream: ServerUnderTest
) -> dict[str, Contestant]:
    """Start the frameworks and the proxy that are wanted and can be installed."""
    peers: dict[str, Contestant] = {}
    template = plan.folder / "chunk.json"
    template.write_bytes(recording.template())
    for peer in (FASTAPI, AIOHTTP):
        made = stage.try_peer(peer.name, partial(framework_server, peer, template, plan.folder, plan.cache))
        if made is not None:
            peers[peer.name] = Contestant(made)
    proxy = partial(litellm_proxy, upstream, (_FULL_SPEED, _PACED), plan.folder, plan.cache)
    made = stage.try_peer(LITELLM.name, proxy)
    if made is not None:
        peers[LITELLM.name] = Contestant(
            made,
            LITELLM_FRAMES_AROUND,
            LITELLM_KEY,
            lengths=(_LITELLM_TOKENS,),
            most_streams=_LITELLM_STREAMS,
        )
    return peers


def stream_job(contestant: Contestant, streams: Streams, tokens: int, repeats: int) -> LoadJob:
    """Make the load of streams of one length."""
    model = _PACED if streams.step_seconds else _FULL_SPEED
    # Ours has a model for it; the others are told.
    paced = streams.step_seconds and not contestant.ours
    pace = {"step_seconds": streams.step_seconds} if paced else {}
    body = {**contestant.api.body(model, tokens), **contestant.fields, **pace}
    headers = bearer(contestant.key) if contestant.key else {}
    return LoadJob(
        port=contestant.server.port,
        requests=(request(contestant.api.path, body, headers=headers),),
        connections=streams.at_once,
        repeats=repeats,
        frames=tokens + contestant.around,
        mark=contestant.api.mark,
    )

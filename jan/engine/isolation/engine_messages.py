"""Messages between a server and the process of an engine: structs that msgspec encodes.

Over pipes, between the process and its parent alone: the plan, how the load goes, lines of the log, the end. Over
the socket, with each event loop: requests in, events out. A request is JSON within its message, because what a
client sent may have numbers that msgpack does not know.
"""

from typing import Any

import msgspec

from jan.engine.base import Event, JobId, ModelInfo, PreparedRequest, TokenizedText
from jan.engine.rules import EngineRules
from jan.engine.stats import COUNTERS


class EngineAddress(msgspec.Struct, frozen=True):
    """Where an engine's process is found: the path of its socket, and the secret that a connection begins with."""

    path: str
    nonce: bytes

    def __repr__(self) -> str:
        return f"EngineAddress({self.path})"


class BackendPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The backend that a process makes. ``file``: the configuration file that has its name, if one does."""

    kind: str
    file: str | None
    options: dict[str, Any]


class ProcessPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The first message to a process. ``listener``: its inherited, listening socket. ``parent``: the id of the
    process with which it ends."""

    name: str
    backend: BackendPlan
    rules: EngineRules
    nonce: bytes
    listener: int
    parent: int


# --- from the process to its parent ----------------------------------------------------------------


class LoadedPart(msgspec.Struct, frozen=True, tag="part"):
    """The part of the model that is loaded, 0..1."""

    part: float


class LoadEnded(msgspec.Struct, frozen=True, tag="loaded"):
    """The end of the load. ``problem``: why the model can't be loaded; '' if it is."""

    problem: str = ""


class LogLine(msgspec.Struct, frozen=True, tag="log"):
    """A line for the log of the server."""

    level: str
    event: str
    fields: dict[str, Any]


FromProcess = LoadedPart | LoadEnded | LogLine


# --- from an event loop to the process -------------------------------------------------------------


class Introduction(msgspec.Struct, frozen=True, tag="hello", array_like=True):
    """The first message of a connection, with the secret of the address."""

    nonce: bytes


class NewJob(msgspec.Struct, frozen=True, tag="new", array_like=True):
    """A request to prepare; ``queues``: and to queue.

    ``request``: JSON of a GenerationRequest, without its prompt. ``prompt``: the number of its prompt in this
    connection. ``content``: JSON of the prompt; empty if the process has it.
    """

    job: JobId
    request: bytes
    prompt: int
    content: bytes
    queues: bool


class QueueJob(msgspec.Struct, frozen=True, tag="queue", array_like=True):
    """A prepared job to queue."""

    job: JobId


class DropJob(msgspec.Struct, frozen=True, tag="drop", array_like=True):
    """A job to end at once."""

    job: JobId


class ShowTokens(msgspec.Struct, frozen=True, tag="show", array_like=True):
    """A request, as JSON, whose tokens are wanted."""

    job: JobId
    request: bytes


class ForgetPrompts(msgspec.Struct, frozen=True, tag="forget", array_like=True):
    """The numbers of prompts that no later job will have."""

    prompts: list[int]


class ResetBackend(msgspec.Struct, frozen=True, tag="reset", array_like=True):
    """An order to drop all jobs and reset the backend."""


ToProcess = Introduction | NewJob | QueueJob | DropJob | ShowTokens | ForgetPrompts | ResetBackend


# --- from the process to an event loop -------------------------------------------------------------


class Welcome(msgspec.Struct, frozen=True, tag="welcome", array_like=True):
    """The answer to an Introduction: the model, without what compiles its output formats."""

    info: ModelInfo


class ShownTokens(msgspec.Struct, frozen=True, tag="shown", array_like=True):
    """The tokens that a ShowTokens asked for."""

    job: JobId
    text: TokenizedText


class StepEvents(msgspec.Struct, frozen=True, tag="e", array_like=True):
    """The events of a step, in order. For each: its job, the tokens of a Delta of text alone, and the text.

    Tokens of -1 stand for the next one of ``others``.
    """

    jobs: list[JobId]
    tokens: list[int]
    texts: list[str]
    others: list[Event | PreparedRequest]


class EngineState(msgspec.Struct, frozen=True, tag="s", array_like=True):
    """The counters of the engine and what it is doing.

    ``heard``: messages of this connection that it has taken. ``busy_since``: see ``Host.busy_since``.
    ``cache_used``: tokens of the key-value cache. ``counts``: the fields of EngineStats that COUNTED names.
    ``waits``, ``waited``: its histogram.
    """

    heard: int
    busy_since: float | None
    cache_used: int
    counts: list[int]
    waits: list[int]
    waited: float


class WasReset(msgspec.Struct, frozen=True, tag="was_reset", array_like=True):
    """The backend was reset; no job is left."""


#: The fields of EngineStats that an EngineState has, in order.
COUNTED = ("running", "waiting", "waiting_tokens", *COUNTERS)

FromEngine = Welcome | ShownTokens | StepEvents | EngineState | WasReset

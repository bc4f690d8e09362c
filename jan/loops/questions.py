"""The questions that web loops and their supervisor ask each other."""

import msgspec

from jan.engine.base import Failed
from jan.engine.isolation.engine_messages import EngineAddress
from jan.limits.memory import MemoryCounter
from jan.loops.link import Question
from jan.schema.status import ProcessUse
from jan.storage.accounting import Demand


class Nothing(msgspec.Struct, frozen=True):
    """No argument, or no result."""


class Beginning(msgspec.Struct, frozen=True, kw_only=True):
    """The instructions that a loop begins with.

    ``number``: its number, from 1; the first one keeps the store in order.
    ``settings``: pickled, because they name classes by the file that has them. ``sockets``: the numbers of the
    inherited files on which it accepts connections. ``again``: it takes the place of another one. ``processes``:
    the models that run in processes of the supervisor.
    """

    number: int
    again: bool
    settings: bytes
    sockets: tuple[int, ...]
    processes: tuple[str, ...]


class FirstStart(msgspec.Struct, frozen=True, kw_only=True):
    """The credentials that a first start made for the administrator: a key, and the code of a link to sign in. At
    any other start both are None."""

    admin_key: str | None = None
    start_code: str | None = None

    def __repr__(self) -> str:
        return "FirstStart(...)"


class LoopReady(msgspec.Struct, frozen=True, kw_only=True):
    """The message of a loop that serves: at which URLs, and what it made if this is the first start."""

    urls: tuple[str, ...]
    first: FirstStart


class Taking(msgspec.Struct, frozen=True, kw_only=True):
    """Amounts to count together; see ``Counters.take``."""

    demands: tuple[Demand, ...]
    now: int


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a ``Taking``; see ``storage.accounting.Taken``."""

    counters: tuple[MemoryCounter, ...]
    refused: int | None = None


class Adjustment(msgspec.Struct, frozen=True, kw_only=True):
    """A change of a counter; see ``Counters.adjust``."""

    counter: MemoryCounter
    change: int


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """A value of a metric, with its labels."""

    name: str
    labels: dict[str, str]
    value: float


class Family(msgspec.Struct, frozen=True, array_like=True):
    """The samples of one metric in one process."""

    name: str
    text: str
    kind: str
    samples: tuple[Sample, ...]


class LoadingModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model and the part of it that is loaded, 0..1."""

    model: str
    part: float


class KeptStream(msgspec.Struct, frozen=True, kw_only=True):
    """A stream that a loop may keep, and the last of its events that the client has."""

    stream_id: str
    owner: str
    number: int


class StreamPiece(msgspec.Struct, frozen=True, kw_only=True):
    """Some frames of a kept stream. Nothing more comes after ``last``."""

    frames: bytes
    last: bool = False


class Forgotten(msgspec.Struct, frozen=True, kw_only=True):
    """The streams to forget: those of a conversation, or those of an owner."""

    conversation_id: str = ""
    owner: str = ""


# Asked by a loop.
BEGIN = Question("begin", Nothing, Beginning)
FAILED = Question("failed", Failed, Nothing)
READY = Question("ready", LoopReady, Nothing)
LATE_KEY = Question("late_key", FirstStart, Nothing)
TAKE = Question("take", Taking, Counted)
ADJUST = Question("adjust", Adjustment, Nothing)
LOCATE = Question("locate", str, EngineAddress)
PROCESSES = Question("processes", Nothing, list[ProcessUse])
ALL_METRICS = Question("all_metrics", Nothing, list[list[Family]])

# Asked by the supervisor, and by loops of all other loops, through it.
HAND_OVER = Question("hand_over", Nothing, Nothing)
LOADING = Question("loading", LoadingModel, Nothing)
METRICS = Question("metrics", Nothing, list[Family])
OPEN_STREAM = Question("open_stream", KeptStream, int)
NEXT_PIECE = Question("next_piece", int, StreamPiece)
CLOSE_STREAM = Question("close_stream", int, Nothing)
FORGET_STREAMS = Question("forget_streams", Forgotten, Nothing)

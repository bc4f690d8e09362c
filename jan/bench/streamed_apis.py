"""The APIs that stream an answer, each with a request for the same words."""

from collections.abc import Callable
from types import MappingProxyType

import msgspec

from jan.bench.ours import CHAT
from jan.bench.recording import FRAMES_AROUND, chat_body

Fields = dict[str, object]

CHAT_API = "chat"
RESPONSES_API = "responses"


class StreamedApi(msgspec.Struct, frozen=True):
    """An API on the wire.

    - ``body``: makes a request from a model and a number of tokens.
    - ``around``: frames of a stream that are not tokens.
    - ``mark``: bytes that each frame has once.
    """

    path: str
    body: Callable[[str, int], Fields]
    around: int
    mark: bytes = b"data: "


# The prompt is short and repeated only as often as the longest answer needs. An echo engine that makes all words
# of an answer at once then has little to make.
WORDS = 50


def _chat(model: str, tokens: int) -> Fields:
    return {**chat_body(model, WORDS), "max_tokens": tokens}


def _response(model: str, tokens: int) -> Fields:
    asked = {"model": model, "input": _chat(model, tokens)["messages"], "max_output_tokens": tokens}
    return {**asked, "store": False, "stream": True}


def _message(model: str, tokens: int) -> Fields:
    return {"model": model, "messages": _chat(model, tokens)["messages"], "max_tokens": tokens, "stream": True}


def _ollama(model: str, tokens: int) -> Fields:
    return {"model": model, "messages": _chat(model, tokens)["messages"], "options": {"num_predict": tokens}}


STREAMED_APIS = MappingProxyType(
    {
        CHAT_API: StreamedApi(CHAT, _chat, FRAMES_AROUND),
        RESPONSES_API: StreamedApi("/v1/responses", _response, 8),
        "messages": StreamedApi("/v1/messages", _message, 5),
        "ollama": StreamedApi("/api/chat", _ollama, 1, b'"done":'),
    }
)

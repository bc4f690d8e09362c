"""Streams of every API. What is written is read back, by the rules of its format, as the answer it was made of."""

import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import msgspec

from fuzz.given import Given
from handlers.anthropic.message_translator import MessageTranslator
from handlers.ollama.line_translators import ChatLines, GenerationLines
from handlers.openai.chat.chunks import ChatTranslator
from handlers.openai.completion_forms import CompletionShape, CompletionTranslator
from handlers.openai.reports import Reports
from handlers.openai.responses.chat_request import ChatRequestOfResponse
from handlers.openai.responses.response_endpoint import response_of
from handlers.openai.responses.response_translator import ResponseTranslator
from jan.auth.encrypted_texts import EncryptedTexts
from jan.engine.base import Delta, Event, Finished, Queued, Started, ToolCallFragment
from jan.errors import Unavailable
from jan.generation.collected import CollectedAnswers
from jan.generation.sinks import FrameSink, Translator
from jan.generation.token_count import TokenCount
from jan.schema.responses import ResponseRequest

Pieces = list[tuple[str, str]]
_NAMES = ("f", "g-2", "größe")
_ERROR = Unavailable("The model\nended: \u2028 data: [DONE]\n\n.", code="engine_failed")


def _chat() -> Translator:
    return ChatTranslator("chatcmpl-1", "m", with_usage=True, tier=msgspec.UNSET)


def _completion() -> Translator:
    shape = CompletionShape(prompts=1, generated=1, returned=1, logprobs=False, prompt_scored=False)
    return CompletionTranslator("m", shape, Reports(), with_usage=True, tier=msgspec.UNSET)


def _response() -> Translator:
    body, texts = ResponseRequest(model="m", input="hi"), EncryptedTexts(lambda _: [bytes(32)]).of("me")
    return ResponseTranslator(
        response_of(body, ChatRequestOfResponse(body, texts), "resp_1"),
        custom=frozenset({"g-2"}),
        with_logprobs=False,
        encrypt=partial(texts.encrypt, "reasoning"),
    )


def _message() -> Translator:
    return MessageTranslator("msg_1", "m", shows_thinking=True, asks_cache=True)


def _chat_lines() -> Translator:
    return ChatLines("m", 0.0, seed="1", shows_thinking=True)


def _generation_lines() -> Translator:
    return GenerationLines("m", 0.0, seed="1", shows_thinking=True)


# --- readers of what was sent, each for one API ---------------------------------------------------------


def _of_chat(event: dict[str, Any]) -> Pieces:
    deltas = [choice["delta"] for choice in event.get("choices", ())]
    calls = [call["function"] for delta in deltas for call in delta.get("tool_calls") or ()]
    return [
        *(("text", delta["content"]) for delta in deltas if delta.get("content")),
        *(("reasoning", delta["reasoning_content"]) for delta in deltas if delta.get("reasoning_content")),
        *(("arguments", call["arguments"]) for call in calls if call.get("arguments")),
    ]


def _of_completion(event: dict[str, Any]) -> Pieces:
    return [("text", choice["text"]) for choice in event.get("choices", ())]


def _of_response(event: dict[str, Any]) -> Pieces:
    kinds = {"output_text": "text", "reasoning_text": "reasoning", "function_call_arguments": "arguments"}
    kind = event["type"].removeprefix("response.").removesuffix(".delta")
    return [(kinds[kind], event["delta"])] if event["type"].endswith(".delta") and kind in kinds else []


def _of_message(event: dict[str, Any]) -> Pieces:
    kinds = {"text": "text", "thinking": "reasoning", "partial_json": "arguments"}
    delta = event.get("delta", {}) if event["type"] == "content_block_delta" else {}
    return [(kinds[name], text) for name, text in delta.items() if name in kinds]


def _of_line(event: dict[str, Any]) -> Pieces:
    message = event.get("message", event)
    text = message.get("content", event.get("response", ""))
    return [("text", text), ("reasoning", message.get("thinking") or "")]


_APIS: tuple[tuple[Callable[[], Translator], Callable[[dict[str, Any]], Pieces]], ...] = (
    (_chat, _of_chat),
    (_completion, _of_completion),
    (_response, _of_response),
    (_message, _of_message),
    (_chat_lines, _of_line),
    (_generation_lines, _of_line),
)


def words() -> Iterable[bytes]:
    """Yield what could be taken for the end of a frame, or of a text in JSON."""
    yield from b'\n\n \r data: [DONE] " \\u0000 \x00 id:1\n : {"a":" \x7f'.split(b" ")
    yield from (b"\xe2\x80\xa8", b"\xf0\x9f\x98\x80", b"\xc2\x85")


def seeds() -> Iterable[bytes]:
    """Yield answers of text, of reasoning and text, and of calls, for each API."""
    for number in range(len(_APIS)):
        yield bytes([number, 1]) + b"\1\5hello\1\6 world"
        yield bytes([number, 0]) + b'\2\3hm.\1\5hello\3\0\7{"a": 1\3\2\1}\4\1\2ab\1\1c'
        yield bytes([number, 3]) + b"\5\1\3abc\3\1\2{}\2\2no"


def check(data: bytes) -> None:
    """Write one answer in the form of one API, in one go or event by event, and read it back."""
    given = Given(data)
    make, read = given.one_of(_APIS)
    flags = given.byte()
    events = _events(given, with_calls=make is not _completion)
    sent = _sent(make(), events, at_once=bool(flags & 1), fails=bool(flags & 2))
    found = [json.loads(text) for text in (_lines(sent) if make in _LINES else _server_sent(sent))]
    said = [event for event in events if isinstance(event, Delta)]
    pieces = [piece for event in found for piece in read(event)]
    assert _joined(pieces, "text") == "".join(delta.text for delta in said)
    if make is not _completion:
        assert _joined(pieces, "reasoning") == "".join(delta.reasoning for delta in said)
    _check_calls(make, pieces, said)
    _check_whole(make(), events)


_LINES = (_chat_lines, _generation_lines)


def _check_calls(make: Callable[[], Translator], pieces: Pieces, said: list[Delta]) -> None:
    fragments = [fragment for delta in said for fragment in delta.tool_calls]
    # A custom tool's input is the text within its arguments, and lines have only whole calls.
    if make in (_chat, _message) or (make is _response and "g-2" not in {one.name for one in fragments}):
        assert _joined(pieces, "arguments") == "".join(fragment.arguments for fragment in fragments)


def _check_whole(translator: Translator, events: list[Event]) -> None:
    answers, count = CollectedAnswers(1), TokenCount([None], 1, 1000)
    answers.add(0, events)
    count.add(0, events)
    msgspec.json.encode(translator.whole(answers, count))


def _joined(pieces: Pieces, kind: str) -> str:
    return "".join(text for found, text in pieces if found == kind)


def _events(given: Given, *, with_calls: bool) -> list[Event]:
    """Make an answer's events from what a fuzzer gives."""
    events: list[Event] = [Started(prompt_tokens=3)]
    calls, tokens, inside = 0, 0, False
    while kind := given.byte():
        if kind % 6 == 5 and len(events) == 1:
            events.append(Queued(position=kind, estimate_seconds=1))
            continue
        tokens += 1
        if kind % 6 in (3, 4) and with_calls:
            begins = given.flag() or not inside
            calls += begins
            name = given.one_of(_NAMES) if begins else ""
            call = ToolCallFragment(index=calls - 1, name=name, arguments=_text(given))
            # A call ends before anything else follows, maybe within the same token.
            inside = kind % 6 == 3
            events.append(Delta(tool_calls=(call,), text="" if inside else _text(given), tokens=1))
            continue
        inside = False
        if kind % 6 == 2 and with_calls:
            events.append(Delta(reasoning=_text(given), tokens=1))
        elif kind % 12 == 7:
            events.append(Delta.sum([Delta(text=_text(given), tokens=1), Delta(text=_text(given), tokens=1)]))
        else:
            events.append(Delta(text=_text(given), tokens=1))
    return [*events, Finished(reason="stop", prompt_tokens=3, completion_tokens=tokens)]


def _text(given: Given) -> str:
    return bytes(given.byte() for _ in range(given.byte() % 32)).decode("utf-8", "replace")


class _Sent:
    """Keeps all frames. They are taken at once, so nothing ever waits."""

    def __init__(self) -> None:
        self.data = b""

    def send(self, frames: Sequence[bytes], _at: float) -> None:
        self.data += b"".join(frames)

    def queued(self, comment: bytes, _at: float) -> None:
        self.data += comment

    def resume(self) -> None:
        """Do nothing, because nothing waits."""

    def end(self, frames: Sequence[bytes], last: bytes) -> None:
        self.data += b"".join(frames) + last


def _sent(translator: Translator, events: list[Event], *, at_once: bool, fails: bool) -> bytes:
    """Return all bytes of a stream."""
    frames, outlet, count = translator.frames(), _Sent(), TokenCount([None], 1, 1000)
    sink = FrameSink(translator, frames, outlet)
    for batch in [events] if at_once else [[event] for event in events]:
        count.add(0, batch)
        sink.take(0, batch, 0.0, batch[-1] is events[-1])
    if fails:
        sink.flush()
        outlet.end((frames.error(_ERROR),), b"")
    else:
        sink.finish(count)
    return outlet.data


def _lines(sent: bytes) -> list[str]:
    assert sent.endswith(b"\n")
    return [line for line in sent.decode().split("\n") if line]


def _server_sent(sent: bytes) -> list[str]:
    """Return the data of events as WHATWG HTML 9.2.6 reads them."""
    found: list[str] = []
    text = sent.decode()
    assert "\r" not in text
    assert text.endswith("\n\n")
    for frame in text.split("\n\n")[:-1]:
        fields = [line.partition(":") for line in frame.split("\n") if not line.startswith(":")]
        assert {name for name, _, _ in fields} <= {"id", "event", "data"}, frame
        data = [value.removeprefix(" ") for name, _, value in fields if name == "data"]
        assert len(data) <= 1, frame
        types = [value.removeprefix(" ") for name, _, value in fields if name == "event"]
        if types:
            assert json.loads(data[0])["type"] == types[0], frame
        found += data
    return [data for data in found if data != "[DONE]"]

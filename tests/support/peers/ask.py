"""Reads answers with vLLM's and SGLang's own parsers, whole and streamed.

Usage: ask.py PACKAGES < questions.json > readings.json. It runs without site packages (`python -I -S`).
"""

import contextlib
import functools
import importlib
import io
import json
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from standins import stand_in
from vocabulary import HarmonyTokenizer, Tokenizer

PARSERS = (
    *("vllm.parser.parser_manager", "vllm.entrypoints.openai.chat_completion.protocol"),
    *("sglang.srt.function_call.function_call_parser", "sglang.srt.parser.reasoning_parser"),
)
#: CPU seconds for one reading: some regular expressions of the peers take for ever with some answers.
SECONDS = 2.0
Names = dict[str, Any]


@functools.cache
def tokenizer(lacking: tuple[str, ...] = ()) -> Tokenizer:
    """Return the tokenizer without some marks."""
    return Tokenizer(lacking)


@functools.cache
def _harmony() -> HarmonyTokenizer:
    return HarmonyTokenizer()


def _tokenizer(names: Names) -> Any:
    return _harmony() if names["tools"] == "openai" else tokenizer(tuple(names["lacking"]))


class Reading:
    """What a parser read: reasoning, content, and calls as pairs of name and arguments."""

    def __init__(self) -> None:
        self.reasoning = self.content = ""
        self.calls: list[list[str]] = []
        self._at: dict[int, int] = {}

    def text(self, reasoning: str | None, content: str | None) -> None:
        """Add reasoning and content."""
        self.reasoning += reasoning or ""
        self.content += content or ""

    def call(self, name: str | None, arguments: str | None, index: int | None = None) -> None:
        """Add a call, or a part of the call of that index."""
        at = self._at.setdefault(index, len(self.calls)) if index is not None else len(self.calls)
        if at == len(self.calls):
            self.calls.append(["", ""])
        self.calls[at][0] += name or ""
        self.calls[at][1] += arguments or ""

    def plain(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"reasoning": self.reasoning, "content": self.content, "calls": self.calls}


def vllm_whole(names: Names, text: str, tools: list[Any], prompt: str) -> Reading:
    parser, request = _vllm(names, tools)
    reading = Reading()
    ids = _tokenizer(names).encode(text)
    reasoning, content, calls = parser.parse(text, request, enable_auto_tools=True, model_output_token_ids=ids)
    reading.text(reasoning, content)
    for call in calls or []:
        reading.call(call.name, call.arguments)
    return reading


def vllm_streamed(names: Names, text: str, tools: list[Any], prompt: str) -> Reading:
    parser, request = _vllm(names, tools)
    reading = Reading()
    words = _tokenizer(names)
    pieces = words.tokenize(text)
    for at, piece in enumerate(pieces):
        ids, last = words.encode(piece), at == len(pieces) - 1
        delta = parser.parse_delta(piece, ids, request, words.encode(prompt), finished=last)
        if delta is None:
            continue
        reading.text(delta.reasoning, delta.content)
        for call in delta.tool_calls or []:
            if call.function is not None:
                reading.call(call.function.name, call.function.arguments, call.index)
    return reading


def _vllm(names: Names, tools: list[Any]) -> tuple[Any, Any]:
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
    from vllm.parser.parser_manager import ParserManager

    is_harmony = names["tools"] == "openai"
    kind = ParserManager.get_parser(
        names["tools"], names["reasoning"] or None, enable_auto_tools=True, is_harmony=is_harmony
    )
    assert kind is not None
    messages = [{"role": "user", "content": "Hi"}]
    request = ChatCompletionRequest(messages=messages, model="m", tools=tools or None)
    return kind(_tokenizer(names), request.tools), request


def sglang_whole(names: Names, text: str, tools: list[Any], prompt: str) -> Reading:
    thinks, calls_of = _sglang(names, tools)
    reading = Reading()
    if thinks is not None:
        reasoning, content = thinks.parse_non_stream(text)
        reading.text(reasoning, None)
        text = content or ""
    content, calls = calls_of.parse_non_stream(text)
    reading.text(None, content)
    for call in calls:
        reading.call(call.name, call.parameters)
    return reading


def sglang_streamed(names: Names, text: str, tools: list[Any], prompt: str) -> Reading:
    thinks, calls_of = _sglang(names, tools)
    reading = Reading()

    def add(content: str | None, calls: list[Any]) -> None:
        reading.text(None, content)
        for call in calls:
            reading.call(call.name, call.parameters, call.tool_index)

    for piece in [*_tokenizer(names).tokenize(text), None]:
        content: str | None = piece
        if thinks is not None:
            reasoning, content = thinks.parse_stream_chunk(piece) if piece else thinks.parse_stream_end()
            reading.text(reasoning, None)
        if content:
            add(*calls_of.parse_stream_chunk(content))
    add(*calls_of.parse_stream_end())
    return reading


def _sglang(names: Names, tools: list[Any]) -> tuple[Any, Any]:
    from sglang.srt.entrypoints.openai.protocol import Tool
    from sglang.srt.function_call.function_call_parser import FunctionCallParser
    from sglang.srt.parser.reasoning_parser import ReasoningParser

    thinks = None
    words = _tokenizer(names)
    if names["reasoning"]:
        forced = {"force_reasoning": True} if names["inside"] else {}
        thinks = ReasoningParser(names["reasoning"], tokenizer=words, tool_call_parser_active=True, **forced)
    calls_of = FunctionCallParser([Tool(**tool) for tool in tools], names["tools"], tokenizer=words)
    return thinks, calls_of


READERS = {
    "vllm": {"whole": vllm_whole, "streamed": vllm_streamed},
    "sglang": {"whole": sglang_whole, "streamed": sglang_streamed},
}


def readings(questions: list[dict[str, Any]], tools: list[Any]) -> Iterator[dict[str, Any]]:
    """Yield each question's readings: by peer, whole and streamed. A parser's own failure is an `error`."""
    for question in questions:
        yield {
            peer: {
                way: _reading(
                    READERS[peer][way], names, names["prefix"] + question["text"], tools, question["prompt"]
                )
                for way in names["ways"]
            }
            for peer, names in question["peers"].items()
        }


def _reading(read: Any, *question: Any) -> dict[str, Any]:
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        reading: dict[str, Any] = read(*question).plain()
    except Exception as error:  # noqa: BLE001  # whatever a parser raises is its reading
        return {"error": f"{type(error).__name__}: {error}"[:300]}
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return reading


def _too_slow(number: int, frame: object) -> None:
    raise TimeoutError(f"it takes more than {SECONDS} s")


def main() -> None:
    signal.signal(signal.SIGVTALRM, _too_slow)
    packages = Path(sys.argv[1])
    os.environ["TIKTOKEN_ENCODINGS_BASE"] = str(packages)  # where the library of gpt-oss looks for its vocabulary
    stand_in(packages)
    for module in PARSERS:
        importlib.import_module(module)  # no reading has to wait for it
    asked = json.load(sys.stdin)
    with contextlib.redirect_stdout(io.StringIO()):
        logging.disable(logging.CRITICAL)
        answered = list(readings(asked["questions"], asked["tools"]))
    json.dump(answered, sys.stdout)


if __name__ == "__main__":
    main()

"""Reads answers with vLLM's and SGLang's own parsers, whole and streamed.

Usage: ask.py PACKAGES < questions.json > readings.json. It runs without site packages (`python -I -S`).
"""

import contextlib
import io
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from standins import stand_in  # noqa: E402
from vocabulary import Tokenizer  # noqa: E402

TOKENIZER = Tokenizer()


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


def vllm_whole(names: dict[str, Any], text: str, tools: list[Any], prompt: str) -> Reading:
    parser, request = _vllm(names, tools)
    reading = Reading()
    ids = TOKENIZER.encode(text)
    reasoning, content, calls = parser.parse(text, request, enable_auto_tools=True, model_output_token_ids=ids)
    reading.text(reasoning, content)
    for call in calls or []:
        reading.call(call.name, call.arguments)
    return reading


def vllm_streamed(names: dict[str, Any], text: str, tools: list[Any], prompt: str) -> Reading:
    parser, request = _vllm(names, tools)
    reading = Reading()
    pieces = TOKENIZER.tokenize(text)
    prompt_ids = TOKENIZER.encode(prompt)
    for at, piece in enumerate(pieces):
        ids, last = TOKENIZER.encode(piece), at == len(pieces) - 1
        delta = parser.parse_delta(piece, ids, request, prompt_ids, finished=last)
        if delta is None:
            continue
        reading.text(delta.reasoning, delta.content)
        for call in delta.tool_calls or []:
            if call.function is not None:
                reading.call(call.function.name, call.function.arguments, call.index)
    return reading


def _vllm(names: dict[str, Any], tools: list[Any]) -> tuple[Any, Any]:
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
    from vllm.parser.parser_manager import ParserManager

    kind = ParserManager.get_parser(names.get("tools"), names.get("reasoning"), enable_auto_tools=True)
    assert kind is not None
    messages = [{"role": "user", "content": "Hi"}]
    request = ChatCompletionRequest(messages=messages, model="m", tools=tools or None)
    options = {"chat_template_kwargs": names["template"]} if "template" in names else {}
    return kind(TOKENIZER, request.tools, **options), request


def sglang_whole(names: dict[str, Any], text: str, tools: list[Any], prompt: str) -> Reading:
    thinks, calls_of = _sglang(names, tools)
    reading = Reading()
    if thinks is not None:
        reasoning, content = thinks.parse_non_stream(text)
        reading.text(reasoning, None)
        text = content or ""
    if calls_of is None:
        reading.text(None, text)
        return reading
    content, calls = calls_of.parse_non_stream(text)
    reading.text(None, content)
    for call in calls:
        reading.call(call.name, call.parameters)
    return reading


def sglang_streamed(names: dict[str, Any], text: str, tools: list[Any], prompt: str) -> Reading:
    thinks, calls_of = _sglang(names, tools)
    reading = Reading()

    def add(content: str | None, calls: list[Any]) -> None:
        reading.text(None, content)
        for call in calls:
            reading.call(call.name, call.parameters, call.tool_index)

    for piece in [*TOKENIZER.tokenize(text), None]:
        content: str | None = piece
        if thinks is not None:
            reasoning, content = thinks.parse_stream_chunk(piece) if piece else thinks.parse_stream_end()
            reading.text(reasoning, None)
        if calls_of is None:
            reading.text(None, content)
        elif content:
            add(*calls_of.parse_stream_chunk(content))
    if calls_of is not None:
        add(*calls_of.parse_stream_end())
    return reading


def _sglang(names: dict[str, Any], tools: list[Any]) -> tuple[Any, Any]:
    from sglang.srt.entrypoints.openai.protocol import Tool
    from sglang.srt.function_call.function_call_parser import FunctionCallParser
    from sglang.srt.parser.reasoning_parser import ReasoningParser

    thinks = calls_of = None
    if names.get("reasoning"):
        forced = {"force_reasoning": True} if names.get("inside") else {}
        active = bool(names.get("tools"))
        thinks = ReasoningParser(
            names["reasoning"], tokenizer=TOKENIZER, tool_call_parser_active=active, **forced
        )
    if names.get("tools"):
        calls_of = FunctionCallParser([Tool(**tool) for tool in tools], names["tools"], tokenizer=TOKENIZER)
    return thinks, calls_of


READERS = {
    "vllm": {"whole": vllm_whole, "streamed": vllm_streamed},
    "sglang": {"whole": sglang_whole, "streamed": sglang_streamed},
}


def readings(questions: list[dict[str, Any]], toolsets: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    """Yield each question's readings: by peer, whole and streamed. A parser's own failure is an `error`."""
    for question in questions:
        answer: dict[str, Any] = {}
        tools = toolsets[question["tools"]]
        for peer, readers in READERS.items():
            if peer not in question["peers"]:
                continue
            for way, read in readers.items():
                names = question["peers"][peer]
                try:
                    reading = read(names, question["text"], tools, question.get("prompt", "")).plain()
                except Exception as error:
                    reading = {"error": f"{type(error).__name__}: {error}"[:300]}
                answer.setdefault(peer, {})[way] = reading
        yield answer


def main() -> None:
    stand_in(Path(sys.argv[1]))
    asked = json.load(sys.stdin)
    with contextlib.redirect_stdout(io.StringIO()):
        logging.disable(logging.CRITICAL)
        answered = list(readings(asked["questions"], asked["toolsets"]))
    json.dump(answered, sys.stdout)


if __name__ == "__main__":
    main()

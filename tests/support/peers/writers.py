"""How the models of each dialect write an answer, and which of the peers' parsers reads it."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

Arguments = Mapping[str, Any]
#: Returns the text of a call, given its name, its arguments and its number in the answer.
Call = Callable[[str, Arguments, int], str]


class Writer(msgspec.Struct, frozen=True, kw_only=True):
    """The form of one dialect.

    An answer with calls has ``opening``, the calls with ``between`` among them, and ``closing``. ``thoughts``: the
    marks around reasoning, '' if the dialect has none. ``json_call``: the texts around a call that is one JSON
    object. ``marks``: texts that a model may mention without calling.
    ``vllm`` and ``sglang``: the names of their parsers of calls and of reasoning; '' for none.
    ``always_thinks``: the peers take an answer without reasoning for reasoning, so that such answers are given to
    them without a parser of reasoning, as for a model that does not think.
    ``whole_only``: the peer can't read streams of this dialect: it has no code for it, or loses most values.
    ``sglang_prefix``: the end of the prompt, which SGLang's parser looks for in the answer.
    ``lacking``: marks that are no tokens of this dialect's models, but of another one with the same parser.
    """

    call: Call
    opening: str = ""
    between: str = ""
    closing: str = ""
    thoughts: tuple[str, str] = ("<think>", "</think>")
    before_content: str = ""
    after_content: str = ""
    json_call: tuple[str, str] | None = None
    marks: tuple[str, ...] = ()
    vllm: tuple[str, str] = ("", "")
    sglang: tuple[str, str] = ("", "")
    always_thinks: bool = False
    whole_only: bool = False
    sglang_prefix: str = ""
    lacking: tuple[str, ...] = ()

    def calls(self, calls: Sequence[tuple[str, Arguments]]) -> str:
        """Return the text of several calls."""
        written = self.between.join(self.call(name, given, at) for at, (name, given) in enumerate(calls))
        return f"{self.opening}{written}{self.closing}"


def dumps(value: Any) -> str:
    """Return JSON as models write it."""
    return json.dumps(value, ensure_ascii=False)


def json_call(before: str, after: str = "", name: str = "name", arguments: str = "arguments") -> Call:
    """Return the writer of calls that are one object each, between two texts."""

    def write(called: str, given: Arguments, at: int) -> str:
        return f"{before}{dumps({name: called, arguments: given})}{after}"

    return write


def _text(value: Any) -> str:
    return value if isinstance(value, str) else dumps(value)


def marked_call(before_name: str, after_name: str, parameter: str, end: str) -> Call:
    """Return the writer of calls whose values stand between marks. ``parameter``: with KEY and VALUE in it."""

    def write(called: str, given: Arguments, at: int) -> str:
        written = "".join(
            parameter.replace("KEY", key).replace("VALUE", _text(value)) for key, value in given.items()
        )
        return f"{before_name}{called}{after_name}{written}{end}"

    return write


def python_call(called: str, given: Arguments, at: int) -> str:
    """Write a call as in Python."""
    return f"{called}({', '.join(f'{key}={value!r}' for key, value in given.items())})"


def numbered_call(called: str, given: Arguments, at: int) -> str:
    """Write a call with its number, as Kimi K2 does."""
    begin, middle, end = "<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>"
    return f"{begin}functions.{called}:{at}{middle}{dumps(given)}{end}"


def compact_call(begin: str, end: str, quote: str) -> Call:
    """Return the writer of objects with bare keys, and strings between quotes of the dialect's own."""

    def value(given: Any) -> str:
        if isinstance(given, str):
            return f"{quote}{given}{quote}"
        if isinstance(given, Mapping):
            return "{" + ",".join(f"{key}:{value(item)}" for key, item in given.items()) + "}"
        return "[" + ",".join(map(value, given)) + "]" if isinstance(given, list) else dumps(given)

    return lambda called, given, at: f"{begin}call:{called}{value(given)}{end}"


def call_between(before: str, middle: str, after: str) -> Call:
    """Return the writer of calls whose name and arguments stand between three texts."""

    def write(called: str, given: Arguments, at: int) -> str:
        return f"{before}{called}{middle}{dumps(given)}{after}"

    return write


def cohere_call(called: str, given: Arguments, at: int) -> str:
    """Write a call with its number, as Command A does."""
    call = {"tool_call_id": str(at), "tool_name": called, "parameters": given}
    return f"    {dumps(call)}"


def question(writer: Writer, text: str, *, thinks: bool, inside: bool) -> dict[str, Any]:
    """Return what the peers' parsers are asked about an answer.

    Args:
        writer: the dialect of the answer.
        text: the answer.
        thinks: it has reasoning.
        inside: the prompt has opened the block of reasoning.
    """
    peers: dict[str, Any] = {}
    for peer, (tools, reasoning) in (("vllm", writer.vllm), ("sglang", writer.sglang)):
        if tools:
            peers[peer] = {
                "tools": tools,
                "reasoning": reasoning if thinks or not writer.always_thinks else "",
                "inside": inside,
                "lacking": writer.lacking,
                "prefix": writer.sglang_prefix if peer == "sglang" else "",
                "ways": ["whole"] if writer.whole_only else ["whole", "streamed"],
            }
    return {"peers": peers, "text": text, "prompt": writer.thoughts[0] if inside else ""}

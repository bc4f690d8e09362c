"""Answers in every dialect. Pieces that are joined differently give the same answer, and nothing is lost."""

import json
from collections.abc import Iterable

import msgspec
from support.dialects import ARGUMENTS, DIALECTS, TOOLS, canonical

from fuzz.given import Given, cut
from jan.engine.answers.answer import Answer
from jan.engine.base import Delta, Finished, GenerationRequest, TextPrompt
from jan.engine.formats import OutputFormat
from jan.engine.prompts.dialects import Dialect
from jan.engine.prompts.dialects.known_forms import REASONING

_REASONING = ("", *REASONING)
_STOPS: tuple[tuple[str, ...], ...] = ((), ("</s>",), ("ab", "b<"), ("abcd", "c"), ("\n\n", "}"))
_NAMES = frozenset(tool.function.name for tool in TOOLS)


class Read(msgspec.Struct, frozen=True):
    """One answer as it was read."""

    text: str
    reasoning: str
    calls: tuple[tuple[str, str], ...]
    reason: str
    stop: str | None


def words() -> Iterable[bytes]:
    """Yield words that the dialects are made of."""
    for dialect in DIALECTS:
        form, one = dialect.calls, dialect.calls.argument
        texts = [
            form.opening,
            form.before_name,
            form.after_name,
            form.end,
            form.closing,
            *form.marks,
            *form.closers,
        ]
        if one is not None:
            texts += [one.before_key, one.key_end, one.before_value, one.end, one.quote]
        yield from (text.encode() for text in texts)
    for marks in REASONING.values():
        yield from (text.encode() for text in (marks.open, marks.close, marks.content_open, marks.content_close))
    yield from b'"name":"f" "arguments": null g-2 \\ud800 "o" """ print( {} {"n":"\\ud800"}'.split(b" ")


def seeds() -> Iterable[bytes]:
    """Yield inputs to begin with: each dialect's own answer."""
    for number, dialect in enumerate(DIALECTS):
        for head, arguments in (
            (b"\0\0\0", {"a": 1}),
            (b"\1\0", ARGUMENTS),
            (b"\5\0\0", {"o": {"n": "\ud7ff"}, "l": ["u", "v" * 500]}),
        ):
            answer = canonical(dialect, ("f", arguments), ("g-2", {})).replace("\ud7ff", "\\ud7ff")
            yield bytes([number]) + head + answer.encode()


def check(data: bytes) -> None:
    """Read one answer in several cuts. Raises AssertionError where they differ or lose something."""
    given = Given(data)
    dialect = given.one_of(DIALECTS)
    flags = given.byte()
    if not flags & 1:
        dialect = msgspec.structs.replace(dialect, reasoning=given.one_of(_REASONING))
    dialect = msgspec.structs.replace(dialect, begins_inside=bool(flags & 2 and dialect.reasoning))
    stops = given.one_of(_STOPS) if flags & 4 else ()
    tools = () if flags & 8 else TOOLS
    output = OutputFormat(callable_tools=tools, must_call=bool(flags & 16 and tools))
    request = GenerationRequest(prompt=TextPrompt(""), output=output, stop=stops, include_stop=bool(flags & 32))
    size, answer = given.byte(), given.rest()
    whole = _read(dialect, request, [answer])
    pieces = cut(answer, size % 8 or size // 8 + 1)
    assert _read(dialect, request, pieces) == whole, f"{dialect}, {request}: {pieces}"
    _check_whole(whole, dialect, request, answer)


def _check_whole(whole: Read, dialect: Dialect, request: GenerationRequest, answer: bytes) -> None:
    said = (dialect, request, whole)
    # What cannot be sent is a fault too.
    msgspec.json.encode(whole)
    assert {name for name, _ in whole.calls} <= _NAMES, said
    if whole.calls and dialect.calls.arguments != "json" and whole.reason == "tool_calls":
        for _, arguments in whole.calls:
            assert _is_object(arguments) or '"name"' in answer.decode(errors="replace"), said
    if not (whole.calls or request.stop or request.output.must_call or dialect.reasoning):
        assert whole.text == answer.decode(errors="replace"), said


def _is_object(arguments: str) -> bool:
    return isinstance(json.loads(arguments), dict)


def _read(dialect: Dialect, request: GenerationRequest, pieces: list[bytes]) -> Read:
    answer = Answer(request, 0, len(pieces) + 1, dialect)
    outputs = []
    for piece in pieces:
        outputs += answer.add(piece)
        if isinstance(outputs[-1], Finished):
            break
    else:
        outputs += answer.end("stop")
    deltas = [output for output in outputs if isinstance(output, Delta)]
    finished = outputs[-1]
    assert isinstance(finished, Finished)
    whole = Delta.sum(deltas)
    calls: dict[int, list[str]] = {}
    for fragment in whole.tool_calls:
        call = calls.setdefault(fragment.index, [fragment.name, ""])
        call[1] += fragment.arguments
    assert list(calls) == list(range(len(calls)))
    said = tuple((name, arguments) for name, arguments in calls.values())
    return Read(whole.text, whole.reasoning, said, finished.reason, finished.stop_string)

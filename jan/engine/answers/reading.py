"""Read a whole answer at once: reasoning, content and tool calls, as a stream of it is read."""

from collections.abc import Iterable, Sequence

import msgspec

from jan.engine.answers.answer import Answer
from jan.engine.base import Delta, Finished, GenerationRequest, TextPrompt
from jan.engine.formats import OutputFormat
from jan.engine.prompts.dialects import Dialect
from jan.schema.tools import Tool


class ReadCall(msgspec.Struct, frozen=True):
    """A call that was read: the tool's name, and its arguments as JSON."""

    name: str
    arguments: str


class ReadAnswer(msgspec.Struct, frozen=True):
    """An answer that was read. ``finish_reason``: as a client gets it, if the model ended the answer itself."""

    content: str
    reasoning: str
    calls: tuple[ReadCall, ...]
    finish_reason: str


def read_answer(
    dialect: Dialect, answer: str | Iterable[bytes], tools: Sequence[Tool] = (), *, must_call: bool = False
) -> ReadAnswer:
    """Read an answer in a dialect.

    Args:
        dialect: as a chat template shows it, or ``dialect_named``.
        answer: the text, control tokens included, or the bytes of its tokens.
        tools: the tools that may be called.
        must_call: the answer is calls only.
    """
    output = OutputFormat(callable_tools=tuple(tools), must_call=must_call)
    pieces = [answer.encode()] if isinstance(answer, str) else list(answer)
    reader = Answer(GenerationRequest(prompt=TextPrompt(""), output=output), 0, len(pieces) + 1, dialect)
    outputs = [output for piece in pieces for output in reader.add(piece)] + reader.end("stop")
    whole = Delta.sum([output for output in outputs if isinstance(output, Delta)])
    reason = next(output.reason for output in outputs if isinstance(output, Finished))
    return ReadAnswer(whole.text, whole.reasoning, _calls_in(whole), reason)


def _calls_in(whole: Delta) -> tuple[ReadCall, ...]:
    calls: list[ReadCall] = []
    for fragment in whole.tool_calls:
        if fragment.index == len(calls):
            calls.append(ReadCall(fragment.name, ""))
        call = calls[fragment.index]
        calls[fragment.index] = ReadCall(call.name, call.arguments + fragment.arguments)
    return tuple(calls)

"""Tool calls are found in a stream of text."""

import json

import pytest

from jan.engine.answers.answer import Answer
from jan.engine.answers.tool_calls import ToolCallReader
from jan.engine.base import Delta, Finished, GenerationRequest, TextPrompt
from jan.engine.formats import OutputFormat
from jan.engine.prompts.dialects import PLAIN
from jan.schema.tools import FunctionDefinition, Tool

CALL = '<tool_call>\n{"name": "f", "arguments": {"a": "}\\"]", "b": [1, {"c": 2}]}}\n</tool_call>'
ARGUMENTS = {"a": '}"]', "b": [1, {"c": 2}]}


def run(pieces: list[str], must_call: bool = False) -> Delta:
    parser = ToolCallReader(PLAIN.calls, must_call=must_call)
    delta = Delta()
    for piece in pieces:
        delta = delta.merge(parser.push(piece))
    return delta.merge(parser.flush())


def calls(delta: Delta) -> list[tuple[str, object]]:
    """Return name and parsed arguments of each call."""
    names = {c.index: c.name for c in delta.tool_calls if c.name}
    texts = {i: "".join(c.arguments for c in delta.tool_calls if c.index == i) for i in names}
    return [(name, json.loads(texts[i])) for i, name in names.items()]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_text_and_calls_are_told_apart(size: int) -> None:
    """For every split, text before the calls is text, and each call has its name and arguments."""
    answer = f"Let me see. {CALL}\n{CALL}"
    delta = run([answer[at : at + size] for at in range(0, len(answer), size)])
    assert delta.text == "Let me see. "
    assert calls(delta) == [("f", ARGUMENTS), ("f", ARGUMENTS)]


def test_an_answer_without_calls_is_text() -> None:
    """Text that only begins like a tag comes out unchanged."""
    assert run(["a <tool", "box> b <tool_ca"]).text == "a <toolbox> b <tool_ca"


def test_arguments_stream_before_they_are_complete() -> None:
    """A call's name comes first, its arguments piece by piece."""
    parser = ToolCallReader(PLAIN.calls)
    deltas = [parser.push(piece) for piece in ('<tool_call>{"name": "f", "arguments": {"a', '": 1', "}}")]
    assert [[(c.name, c.arguments) for c in d.tool_calls] for d in deltas] == [
        [("f", ""), ("", '{"a')],
        [("", '": 1')],
        [("", "}")],
    ]


@pytest.mark.parametrize("cut", range(1, len("<tool_call>")))
def test_a_tag_that_is_cut_off_is_no_text(cut: int) -> None:
    """Where only a call is allowed, the beginning of its tag never comes out as text. This holds for the first
    call if there must be one, and for later calls."""
    assert not run(["<tool_call>"[:cut]], must_call=True)
    assert run([CALL, "\n", "<tool_call>"[:cut]]).text == ""


@pytest.mark.parametrize(("stop", "reason"), [("2", "stop"), ("</tool_call>", "tool_calls")])
def test_a_call_that_a_stop_string_cuts_off_is_not_complete(stop: str, reason: str) -> None:
    """The reason says tool_calls only if the last call's arguments are whole."""
    tool = Tool(type="function", function=FunctionDefinition(name="f"))
    output = OutputFormat(callable_tools=(tool,))
    answer = Answer(GenerationRequest(prompt=TextPrompt(""), stop=(stop,), output=output), 1, 100)
    end = answer.add(CALL.encode())[-1]
    assert isinstance(end, Finished)
    assert end.reason == reason

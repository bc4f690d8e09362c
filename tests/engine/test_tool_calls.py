"""Tool calls in a stream of text."""

import json

import pytest

from jan.engine.base import Delta
from jan.engine.tool_calls import ToolCallParser

CALL = '<tool_call>\n{"name": "f", "arguments": {"a": "}\\"]", "b": [1, {"c": 2}]}}\n</tool_call>'
ARGUMENTS = {"a": '}"]', "b": [1, {"c": 2}]}


def run(pieces: list[str]) -> Delta:
    parser = ToolCallParser()
    delta = Delta()
    for piece in pieces:
        delta = delta.merge(parser.push(piece))
    return delta.merge(parser.flush())


def calls(delta: Delta) -> list[tuple[str, object]]:
    """Name and parsed arguments of each call."""
    names = {c.index: c.name for c in delta.tool_calls if c.name}
    texts = {i: "".join(c.arguments for c in delta.tool_calls if c.index == i) for i in names}
    return [(name, json.loads(texts[i])) for i, name in names.items()]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_text_and_calls_are_told_apart(size: int) -> None:
    """However the answer is cut: text before the calls is text, each call has its name and arguments."""
    answer = f"Let me see. {CALL}\n{CALL}"
    delta = run([answer[at : at + size] for at in range(0, len(answer), size)])
    assert delta.text == "Let me see. "
    assert calls(delta) == [("f", ARGUMENTS), ("f", ARGUMENTS)]


def test_an_answer_without_calls_is_text() -> None:
    """Text that begins like a tag and is none comes out unchanged."""
    assert run(["a <tool", "box> b <tool_ca"]).text == "a <toolbox> b <tool_ca"


def test_arguments_stream_before_they_are_complete() -> None:
    """A call's name comes first, its arguments piece by piece."""
    parser = ToolCallParser()
    deltas = [parser.push(piece) for piece in ('<tool_call>{"name": "f", "arguments": {"a', '": 1', "}}")]
    assert [[(c.name, c.arguments) for c in d.tool_calls] for d in deltas] == [
        [("f", ""), ("", '{"a')],
        [("", '": 1')],
        [("", "}")],
    ]

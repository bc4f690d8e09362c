"""Tool calls and reasoning in every form, however the answer is cut into tokens."""

import json
from typing import Any

import pytest

from jan.engine.answers.answer import Answer
from jan.engine.base import Delta, Finished, GenerationRequest, TextPrompt
from jan.engine.formats import OutputFormat
from jan.engine.prompts.dialects import Dialect, ToolFormat
from jan.schema.tools import FunctionDefinition, Tool

TOOLS = tuple(Tool(type="function", function=FunctionDefinition(name=name)) for name in ("f", "g-2"))
ARGUMENTS = '{"a": "}\\"]", "b": [1, {"c": "ä"}]}'
ONE, TWO = ("f", ARGUMENTS), ("g-2", "{}")

# The form, the answer, its text, its calls.
CALLS: list[tuple[ToolFormat, str, str, list[tuple[str, str]]]] = [
    ("hermes", f'So: <tool_call>\n{{"name": "f", "arguments": {ARGUMENTS}}}\n</tool_call>', "So: ", [ONE]),
    (
        "hermes",
        f'<tool_call>{{"name":"f","arguments":{ARGUMENTS}}}</tool_call>\n<tool_call>\n{{"name": "g-2", '
        '"arguments": {}}\n</tool_call>',
        "",
        [ONE, TWO],
    ),
    ("llama3", f'{{"name": "f", "parameters": {ARGUMENTS}}}', "", [ONE]),
    ("llama3", f'<|python_tag|>{{"name": "f", "parameters": {ARGUMENTS}}}', "", [ONE]),
    (
        "llama3",
        f'\n{{ "name" : "f", "arguments": {ARGUMENTS} }} ; {{"name": "g-2", "parameters": {{}}}}',
        "",
        [ONE, TWO],
    ),
    (
        "mistral",
        f'Hm.[TOOL_CALLS] [{{"name": "f", "arguments": {ARGUMENTS}, "id": "abcd12345"}}, '
        '{"name": "g-2", "arguments": {}}]',
        "Hm.",
        [ONE, TWO],
    ),
    ("mistral_args", f"[TOOL_CALLS]f[ARGS]{ARGUMENTS}[TOOL_CALLS]g-2[CALL_ID]abc123456[ARGS]{{}}", "", [ONE, TWO]),
    ("mistral_args", f"[TOOL_CALLS]f{ARGUMENTS}", "", [ONE]),
]

# The form, and an answer that is all text.
TEXTS: list[tuple[ToolFormat, str]] = [
    ("hermes", "a <toolbox> b <tool_ca"),
    ("hermes", "Write <tool_call> and then a name: <tool_call>\n{name} </tool_call> </b>"),
    ("hermes", '<tool_call>{"name": "unknown", "arguments": {}}</tool_call>'),
    ("llama3", '{"name": "Ada", "age": 36}'),
    ("llama3", '{"name": "f", "parameters": 3}'),
    ("llama3", '{"name": "unknown", "parameters": {}} ; b'),
    ("llama3", 'Say {"name": "f", "parameters": {}}'),
    ("llama3", "<|python_tag|>print(1)"),
    ("mistral", "[1] and [TOOL_ is no [TOOL_CALLS] [1, 2] c"),
    ("mistral_args", "[TOOL_CALLS]nobody[ARGS]{} d"),
]

# Whether the prompt opens the block, the answer, its reasoning, its content.
THOUGHTS = [
    (False, "<think>\nIt is ä < b\n\n</think>\n\nYes, STEP.", "It is ä < b", "Yes, STEP."),
    (True, "It is.\n</thin\n</think>\n\nYes.", "It is.\n</thin", "Yes."),
    (True, "<think>\nIt is.</think>Yes </think> no", "It is.", "Yes </think> no"),
    (True, "Never ends </th", "Never ends </th", ""),
    (False, " <thinking> is <think>a</think>", "", " <thinking> is <think>a</think>"),
    (False, "<thi", "", "<thi"),
    (False, "<think></think>Yes", "", "Yes"),
]


def run(pieces: list[bytes], dialect: Dialect, limit: int = 10_000, **options: Any) -> tuple[Delta, Finished]:
    """Return all deltas of an answer merged into one, and its end."""
    request = GenerationRequest(prompt=TextPrompt(""), **options)
    answer, outputs = Answer(request, 1, limit, dialect), []
    for piece in pieces:
        outputs += answer.add(piece)
        if isinstance(outputs[-1], Finished):
            break
    else:
        outputs += answer.end("stop")
    *deltas, finished = outputs
    assert isinstance(finished, Finished)
    whole = Delta()
    for delta in deltas:
        assert isinstance(delta, Delta)
        whole = whole.merge(delta)
    return whole, finished


def splits(text: str) -> list[list[bytes]]:
    """Yield every split into two parts of the bytes, and splits into tokens of several lengths."""
    data = text.encode()
    twos = [[data[:at], data[at:]] for at in range(len(data) + 1)]
    return twos + [[data[at : at + size] for at in range(0, len(data), size)] for size in (1, 2, 3, 5, 7)]


def calls_of(delta: Delta) -> list[tuple[str, str]]:
    """Return name and arguments of each call by index; only the first fragment of a call has its name."""
    found: list[tuple[str, str]] = []
    for fragment in delta.tool_calls:
        if fragment.name:
            assert fragment.index == len(found)
            found.append((fragment.name, ""))
        name, arguments = found[fragment.index]
        found[fragment.index] = (name, arguments + fragment.arguments)
    return found


@pytest.mark.parametrize(("form", "answer", "text", "calls"), CALLS)
def test_calls_are_found_wherever_the_answer_is_cut(
    form: ToolFormat, answer: str, text: str, calls: list[tuple[str, str]]
) -> None:
    """Text, names and arguments are the same for every cut, and the reason says tool_calls."""
    for pieces in splits(answer):
        delta, end = run(pieces, Dialect(tools=form), output=OutputFormat(callable_tools=TOOLS))
        assert (delta.text, calls_of(delta), end.reason) == (text, calls, "tool_calls"), pieces
    assert all(json.loads(arguments) is not None for _, arguments in calls)


@pytest.mark.parametrize(("form", "answer"), TEXTS)
def test_what_only_looks_like_a_call_is_text(form: ToolFormat, answer: str) -> None:
    """For every split, all characters come out as text, and the reason is not tool_calls."""
    for pieces in splits(answer):
        delta, end = run(pieces, Dialect(tools=form), output=OutputFormat(callable_tools=TOOLS))
        assert (delta.text, delta.tool_calls, end.reason) == (answer, (), "stop"), pieces


def test_text_is_not_held_back_longer_than_it_may_be_a_call() -> None:
    """Text streams at once, even if the answer may call tools."""
    answer = Answer(
        GenerationRequest(prompt=TextPrompt(""), output=OutputFormat(callable_tools=TOOLS)),
        1,
        100,
        Dialect(tools="llama3"),
    )
    deltas = [answer.add(piece)[0] for piece in (b'{"na', b'me": 1', b"}")]
    assert [delta.text for delta in deltas if isinstance(delta, Delta)] == ["", '{"name": 1', "}"]


@pytest.mark.parametrize(("begins_inside", "answer", "reasoning", "content"), THOUGHTS)
def test_reasoning_is_told_apart_wherever_the_answer_is_cut(
    begins_inside: bool, answer: str, reasoning: str, content: str
) -> None:
    """Reasoning and content are the same for every cut."""
    for pieces in splits(answer):
        delta, _ = run(pieces, Dialect(reasoning="think", begins_inside=begins_inside))
        assert (delta.reasoning, delta.text) == (reasoning, content), pieces


def test_reasoning_tokens_are_counted() -> None:
    """The tokens of the block count; all tokens if the limit ends the block; none without a block."""
    tokens = [b"<think>", b"a", b"b", b"</think>", b"c", b"d"]
    assert run(tokens, Dialect(reasoning="think"))[1].reasoning_tokens == 4
    delta, end = run(tokens, Dialect(reasoning="think"), limit=3)
    assert (delta.reasoning, delta.text, end.reason, end.reasoning_tokens) == ("ab", "", "length", 3)
    assert run([b"".join(tokens)], Dialect(reasoning="think"))[1].reasoning_tokens == 1
    assert run(tokens[4:], Dialect(reasoning="think"))[1].reasoning_tokens == 0


def test_stop_strings_count_in_the_content_only() -> None:
    """A stop string in the reasoning is ordinary text."""
    for pieces in splits("<think>a STOP b</think>c STOP d"):
        delta, end = run(pieces, Dialect(reasoning="think"), stop=("STOP",))
        assert (delta.reasoning, delta.text, end.reason) == ("a STOP b", "c ", "stop")


def test_a_call_in_the_reasoning_is_none() -> None:
    """Calls count only after the reasoning block."""
    call = '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'
    for pieces in splits(f"<think>{call}</think>\n{call}"):
        delta, end = run(pieces, Dialect(reasoning="think"), output=OutputFormat(callable_tools=TOOLS))
        assert (delta.reasoning, delta.text, calls_of(delta)) == (call, "", [("f", "{}")])
        assert end.reason == "tool_calls"

"""Every dialect's grammar: it allows the calls that are read, and no others."""

import json
import random
from typing import Any

import jsonschema
import msgspec
import pytest
from support.dialects import ARGUMENTS, DIALECTS, END, PARAMETERS, TOOLS, canonical, marks_of, tokens_of

pytest.importorskip("llguidance")

import numpy

from jan.engine.answers.reading import read_answer
from jan.engine.formats import OutputFormat
from jan.engine.grammars.constraint import Constraint, GrammarCompiler, Vocabulary
from jan.engine.prompts.dialects import Dialect, ReasoningFormat, ToolFormat, dialect_named
from jan.engine.prompts.dialects.known_forms import REASONING
from jan.errors import InvalidRequest
from jan.schema.tools import FunctionDefinition, Tool

FORCED = OutputFormat(callable_tools=TOOLS, must_call=True)
FREE = OutputFormat(callable_tools=TOOLS)
BY_NAME = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.tools)
BY_VOCABULARY = pytest.mark.parametrize("with_marks", [False, True], ids=["as text", "as control tokens"])


class Model:
    """A vocabulary of bytes, with a dialect's marks as control tokens or without them, and its grammars."""

    def __init__(self, dialect: Dialect, with_marks: bool) -> None:
        self.control = marks_of(dialect) if with_marks else {}
        self.pieces = [*(bytes([value]) for value in range(256)), b"<end>", *self.control]
        special = range(END, len(self.pieces))
        self.dialect = dialect
        self.grammars = GrammarCompiler(
            Vocabulary(self.pieces, list(special), [END], lambda text: list(text.encode())), dialect
        )

    def _constraint(self, output: OutputFormat) -> Constraint:
        if not self.grammars.has_compiled(output.key):
            self.grammars.compile_ahead(output)
        constraint = self.grammars.compile(output, self.dialect)
        assert constraint is not None
        return constraint

    def allows(self, output: OutputFormat, text: str) -> bool:
        """Return True if an answer may be this text and end there."""
        constraint = self._constraint(output)
        return all(map(constraint.accept, [*tokens_of(text, self.control), END]))

    def wander(self, output: OutputFormat, choices: random.Random, longest: int) -> bytes | None:
        """Return an answer of tokens chosen among the allowed ones; None if it does not end in time."""
        constraint = self._constraint(output)
        answer, waiting = b"", list[int]()
        one = self.dialect.calls.argument
        for _ in range(longest):
            allowed = numpy.flatnonzero(constraint.allowed()).tolist()
            if END in allowed:
                return answer
            if one is not None and not waiting and choices.random() < 0.1:
                waiting = tokens_of(one.end, self.control)  # the end of a text, which chance would not write
            if waiting and waiting[0] in allowed:
                token = waiting.pop(0)
            else:
                ends = [token for token in allowed if token > END or chr(token) in '}])",']
                likely = [token for token in allowed if token > END or chr(token) in '<>/aparmeter="\n}]){:1,`']
                token, waiting = choices.choice(ends if ends and choices.random() < 0.6 else likely or allowed), []
            assert constraint.accept(token)
            answer += self.pieces[token]
        return None


@BY_NAME
@BY_VOCABULARY
def test_a_forced_call_is_a_right_call(dialect: Dialect, with_marks: bool) -> None:
    """The call as the dialect writes it, after reasoning too; no other tool, no wrong argument, no text."""
    model = Model(dialect, with_marks)
    call = canonical(dialect, ("f", ARGUMENTS))
    assert model.allows(FORCED, call)
    assert model.allows(FORCED, canonical(dialect, ("f", {"a": 1, "s": ""})))
    assert model.allows(FORCED, canonical(dialect, ("g-2", {})))
    assert model.allows(FORCED, canonical(dialect, ("f", ARGUMENTS), ("g-2", {}))) == dialect.calls.several
    for wrong in (("h", {}), ("f", {}), ("f", ARGUMENTS | {"a": "x"}), ("f", ARGUMENTS | {"k": "z"})):
        assert not model.allows(FORCED, canonical(dialect, wrong)), wrong
    assert not model.allows(FORCED, "Hello")
    if dialect.reasoning:
        marks = REASONING[dialect.reasoning]
        after = "<|start|>assistant" if marks.in_channels else ""
        assert model.allows(FORCED, f"{marks.open}Hm.{marks.close}{after}{call}")


@pytest.mark.parametrize("dialect", [each for each in DIALECTS if each.calls.mark], ids=lambda each: each.tools)
@BY_VOCABULARY
def test_a_free_answer_is_text_or_right_calls(dialect: Dialect, with_marks: bool) -> None:
    """After the mark of a call, only a right call may follow."""
    model = Model(dialect, with_marks)
    said = "<|channel|>final<|message|>" if dialect.tools == "harmony" else ""
    assert model.allows(FREE, f"{said}Hello <b> [1]")
    assert model.allows(FREE, canonical(dialect, ("f", ARGUMENTS)))
    assert not model.allows(FREE, canonical(dialect, ("h", {})))
    assert not model.allows(FREE, f"{dialect.calls.mark} there")


# Every kind of value, names that are no words, and choices of several types.
ODD: dict[str, Any] = {
    "type": "object",
    "properties": {
        "user-id": {"type": "integer"},
        "first name": {"type": "string"},
        "either": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "l": {"type": "array", "items": {"type": "object", "properties": {"x y": {"type": "number"}}}},
        "any": {},
        "mixed": {"type": ["integer", "string"]},
        "one": {"enum": [1, "a", None]},
        "map": {"type": "object", "additionalProperties": {"type": "integer"}},
    },
    "required": ["user-id", "one"],
}
ODD_TOOLS = (Tool(type="function", function=FunctionDefinition(name="f", parameters=ODD)),)


@BY_NAME
@BY_VOCABULARY
def test_what_the_grammar_allows_is_read_as_calls(dialect: Dialect, with_marks: bool) -> None:
    """Whatever a model makes of its freedom: the answer is nothing but calls, with arguments of the schema."""
    plain = without_reasoning(dialect)
    model, choices = Model(plain, with_marks), random.Random(11)
    output = OutputFormat(callable_tools=ODD_TOOLS, must_call=True)
    answer = next(filter(None, (model.wander(output, choices, 300) for _ in range(100))))
    found = read_answer(plain, [answer], ODD_TOOLS, must_call=True)
    assert found.calls, answer
    assert not found.content, answer
    assert found.finish_reason == "tool_calls", answer
    for call in found.calls:
        jsonschema.validate(json.loads(call.arguments), ODD)


def without_reasoning(dialect: Dialect) -> Dialect:
    """Return the dialect without reasoning, which could go on for ever."""
    return Dialect(tools=dialect.tools)


NUMBERED = OutputFormat(json_schema=json.dumps({"type": "object", "required": ["a"]}), callable_tools=TOOLS)


@pytest.mark.parametrize("reasoning", REASONING)
@pytest.mark.parametrize("begins_inside", [False, True])
def test_formats_apply_to_content_after_reasoning(reasoning: ReasoningFormat, begins_inside: bool) -> None:
    """Between the marks that content has in a form, or as a call instead."""
    marks = REASONING[reasoning]
    with_channels: dict[str, ToolFormat] = {"harmony": "harmony", "command": "command"}
    dialect = Dialect(
        tools=with_channels.get(reasoning, "hermes"), reasoning=reasoning, begins_inside=begins_inside
    )
    model = Model(dialect, True)
    thought = ("" if begins_inside else marks.open) + "Hm." + marks.close
    thought += "<|start|>assistant" if marks.in_channels else ""
    for output in (NUMBERED, msgspec.structs.replace(NUMBERED, callable_tools=())):
        assert model.allows(output, f'{thought}{marks.content_open}{{"a": 1}}{marks.content_close}')
        assert not model.allows(output, f"{thought}{marks.content_open}Hi.{marks.content_close}")
    assert model.allows(NUMBERED, thought + canonical(dialect, ("g-2", {})))
    assert model.allows(FREE, f"{thought}{marks.content_open}Hi.{marks.content_close}")


@pytest.mark.parametrize("form", ["hermes", "qwen3_coder", "gemma4", "pythonic"])
@pytest.mark.parametrize("parameters", [{"const": 5}, {"type": "string"}, {"enum": ["a"]}, {"type": "null"}])
def test_arguments_that_are_no_object_are_refused(form: ToolFormat, parameters: dict[str, object]) -> None:
    """The message names the tool's place."""
    dialect = dialect_named(form)
    tool = Tool(type="function", function=FunctionDefinition(name="f", parameters=parameters))
    with pytest.raises(InvalidRequest, match="can't be enforced") as refused:
        Model(dialect, True).grammars.compile(OutputFormat(callable_tools=(tool,), must_call=True), dialect)
    assert refused.value.param == "tools[0].function.parameters"


@pytest.mark.parametrize("form", ["hermes", "qwen3_coder", "gemma4", "pythonic"])
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"type": ["object", "null"], "properties": {"a": {"type": "integer"}}},
        {"anyOf": [{"type": "object", "properties": {"a": {"type": "integer"}}}, {"type": "null"}]},
        {"$ref": "#/$defs/one", "$defs": {"one": {"type": "object", "properties": {"a": {"type": "integer"}}}}},
        {"properties": {"a": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "integer"}}},
    ],
)
def test_schemas_that_allow_an_object_are_met(form: ToolFormat, parameters: dict[str, object]) -> None:
    """However the schema says so."""
    dialect = dialect_named(form)
    tool = Tool(type="function", function=FunctionDefinition(name="f", parameters=parameters))
    output = OutputFormat(callable_tools=(tool,), must_call=True)
    assert Model(dialect, True).allows(output, canonical(dialect, ("f", {"a": 1})))


def test_the_parameters_of_these_tests_are_read_by_their_types() -> None:
    """A guard for the tests above: the tool has every kind of argument."""
    kinds = {one.get("type") for one in PARAMETERS["properties"].values()}
    assert kinds == {"integer", "string", None, "boolean", "object", "array"}

"""A real model's grammar compiler enforces each output format."""

import re
from collections.abc import Iterator

import pytest

pytest.importorskip("cyllama")
pytestmark = pytest.mark.model

from support.engine import collect, run_engine, text_of  # noqa: E402

from jan.engine.backends.llamacpp import LlamaCppBackend, LlamaCppOptions  # noqa: E402
from jan.engine.base import GenerationRequest, Sampling, TextPrompt  # noqa: E402
from jan.engine.formats import OutputFormat  # noqa: E402
from jan.engine.grammars.constraint import Constraint  # noqa: E402
from jan.engine.prompts.dialects import PLAIN, Dialect, ToolFormat  # noqa: E402
from jan.errors import InvalidRequest  # noqa: E402
from jan.schema.tools import FunctionDefinition, Tool  # noqa: E402

PARAMETERS = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
TOOLS = (Tool(type="function", function=FunctionDefinition(name="f", parameters=PARAMETERS)),)
CALL = OutputFormat(callable_tools=TOOLS, must_call=True)


@pytest.fixture(scope="module")
def backend() -> Iterator[LlamaCppBackend]:
    made = LlamaCppBackend(LlamaCppOptions(slots=2, context=256))
    made.load(lambda part: None)
    yield made
    made.close()


def accepts(backend: LlamaCppBackend, output: OutputFormat, dialect: Dialect, text: str) -> bool:
    """Return True if an answer may be this text and end there."""
    constraint = backend._model.grammars.compile(output, dialect)
    assert isinstance(constraint, Constraint)
    tokens = backend._model.tokenize_plain(text)
    return all(map(constraint.accept, tokens)) and constraint.accept(min(backend._model.stop_tokens))


@pytest.mark.parametrize(
    ("form", "call"),
    [
        ("hermes", '<tool_call>\n{"name": "f", "arguments": {"n": 1}}\n</tool_call>'),
        ("llama3", '{"name": "f", "parameters": {"n": 1}}'),
        ("mistral", '[TOOL_CALLS][{"name": "f", "arguments": {"n": 1}}, {"name": "f", "arguments": {"n": 2}}]'),
        ("mistral_args", '[TOOL_CALLS]f[ARGS]{"n": 1}[TOOL_CALLS]f[ARGS]{"n": 2}'),
    ],
)
def test_a_required_call_has_the_models_form(backend: LlamaCppBackend, form: ToolFormat, call: str) -> None:
    """Only the model's own form is accepted, wrong arguments are refused, and reasoning may come first."""
    dialect = Dialect(tools=form)
    assert accepts(backend, CALL, dialect, call)
    assert not accepts(backend, CALL, dialect, call.replace('"n"', '"m"'))
    assert not accepts(backend, CALL, dialect, "Hello")
    thinking = Dialect(tools=form, reasoning="think")
    assert accepts(backend, CALL, thinking, call)
    assert accepts(backend, CALL, thinking, f"<think>hm {{</think>\n\n{call}")
    assert accepts(
        backend, CALL, Dialect(tools=form, reasoning="think", begins_inside=True), f"hm</think>\n{call}"
    )


@pytest.mark.parametrize("form", ["hermes", "mistral", "mistral_args"])
def test_an_optional_call_is_right_and_text_is_free(backend: LlamaCppBackend, form: ToolFormat) -> None:
    """Text may be anything; after the mark of a call, the call must be valid."""
    output, dialect = OutputFormat(callable_tools=TOOLS), Dialect(tools=form)
    assert accepts(backend, output, dialect, "Hello <b> [1]")
    mark = "<tool_call>" if form == "hermes" else "[TOOL_CALLS]"
    assert not accepts(backend, output, dialect, f"Hello {mark} there")


def test_an_optional_call_without_a_mark_is_free(backend: LlamaCppBackend) -> None:
    """A call without a mark can't be told from text, so nothing is enforced."""
    assert backend._model.grammars.compile(OutputFormat(callable_tools=TOOLS), Dialect(tools="llama3")) is None


@pytest.mark.parametrize(
    ("output", "right", "wrong"),
    [
        (OutputFormat(regex=r"\d{2}/[ab]+"), "12/ab", "12-ab"),
        (OutputFormat(grammar='start: "yes" | x\nx: "no" "!"*'), "no!!", "maybe"),
        (OutputFormat(json_schema='{"enum": ["}", 2]}'), '"}"', "3"),
    ],
)
def test_formats_apply_after_the_reasoning(
    backend: LlamaCppBackend, output: OutputFormat, right: str, wrong: str
) -> None:
    """The format is enforced for the content and not for the reasoning."""
    thinking = Dialect(reasoning="think")
    assert accepts(backend, output, PLAIN, right)
    assert not accepts(backend, output, PLAIN, wrong)
    assert accepts(backend, output, thinking, right)
    assert accepts(backend, output, thinking, f"<think>{wrong}</think>\n\n{right}")
    assert not accepts(backend, output, thinking, f"<think>{right}</think>\n\n{wrong}")
    opened = Dialect(reasoning="think", begins_inside=True)
    assert accepts(backend, output, opened, f"{wrong}</think>{right}")
    assert not accepts(backend, output, opened, right)


@pytest.mark.parametrize(
    "output",
    [
        OutputFormat(regex="(a{1000}){1000}"),
        OutputFormat(regex="(a"),
        OutputFormat(regex=r"(a)\1"),
        OutputFormat(regex="[^\\s\\S]"),
        OutputFormat(grammar="start: nothing"),
        OutputFormat(grammar="begin: 'a'"),
        OutputFormat(grammar="start: A\nA: A"),
        OutputFormat(grammar="start: a\na: a"),
        OutputFormat(grammar='start: %json {"enum": [1]}'),
        OutputFormat(grammar="a: " + "b" * 20_000),
        OutputFormat(grammar="start: A{5000}\nA: B{5000}\nB: C{5000}\nC: /x/"),
        OutputFormat(grammar="start: a{5000}\na: b{5000}\nb: c{5000}\nc: /x/"),
    ],
)
@pytest.mark.parametrize("dialect", [PLAIN, Dialect(reasoning="think")])
def test_hostile_and_wrong_formats_are_refused(
    backend: LlamaCppBackend, output: OutputFormat, dialect: Dialect
) -> None:
    """The message names the field, and nothing is generated."""
    with pytest.raises(InvalidRequest, match="can't be enforced") as refused:
        backend._model.grammars.compile(output, dialect)
    assert refused.value.param == "structured_outputs"


def test_the_model_keeps_to_an_expression() -> None:
    """The real model samples an answer that matches the expression."""

    async def scenario(engine: object) -> str:
        request = GenerationRequest(
            prompt=TextPrompt("The date is"),
            sampling=Sampling(seed=1),
            output=OutputFormat(regex=r" \d{4}-\d{2}\n"),
        )
        return text_of(await collect(engine, request))  # type: ignore[arg-type]

    text = run_engine(lambda: LlamaCppBackend(LlamaCppOptions(slots=1, context=64)), scenario)
    assert re.fullmatch(r" \d{4}-\d{2}\n", text)

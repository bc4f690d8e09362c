"""Every dialect is read, however its answers are cut: as it writes calls, and as models get them wrong."""

import json
from typing import Any

import pytest
from support.dialects import ARGUMENTS, DIALECTS, TOOLS, canonical, cuts

from jan.engine.answers.reading import ReadAnswer, read_answer
from jan.engine.prompts.dialects import Dialect, ToolFormat, dialect_named
from jan.schema.tools import FunctionDefinition, Tool

BY_NAME = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.tools)

Calls = list[tuple[str, dict[str, Any]]]
NONE: Calls = [("f", {})]
ONE: Calls = [("f", {"a": 1})]
BOTH: Calls = [("f", {"a": 1}), ("g-2", {})]
LONG = "long" * 150

# The form, an answer, its calls: other orders of keys, other keys, missing parts, other quotes.
TOLERATED: list[tuple[ToolFormat, str, Calls]] = [
    ("hermes", '<tool_call>{"arguments": {"a": 1}, "name": "f"}</tool_call>', ONE),
    ("hermes", '<tool_call>\n{"id": "7", "x": [{}], "name": "f", "arguments": {"a": 1}}\n</tool_call>', ONE),
    ("hermes", '<tool_call>{"name": "f", "parameters": {"a": 1}, "n": 1.5, "t": null}</tool_call>', ONE),
    ("hermes", '<tool_call>{"name": "f"}</tool_call>', NONE),
    ("hermes", '<tool_call>{"name": "f", "arguments": null}</tool_call>', NONE),
    ("hermes", '<tool_call>{"name": "f", "arguments": ""}</tool_call>', NONE),
    ("hermes", '<tool_call>{"name": "f", "arguments": "{\\"a\\": 1}"}</tool_call>', ONE),
    ("hermes", '<tool_call>{"name": "f", "arguments": {"a": 1}</tool_call>', ONE),
    ("hermes", '<tool_call>[{"name": "f", "arguments": {"a": 1}}, {"name": "g-2"}]</tool_call>', BOTH),
    ("llama3", '{"type": "function", "name": "f", "parameters": {"a": 1}}', ONE),
    ("llama3", '{"parameters": {"a": 1}, "type": "function", "name": "f"}', ONE),
    ("llama3", 'So: <|python_tag|>{"name": "f", "parameters": {"a": 1}}; {"name": "g-2"}', BOTH),
    ("llama3", '{"name": "f", "parameters": {"a": 1}}\n{"name": "g-2", "parameters": {}}', BOTH),
    ("mistral", '[TOOL_CALLS] [{"arguments": {"a": 1}, "id": "abcd12345", "name": "f"}, {"name": "g-2"}]', BOTH),
    ("mistral", '[TOOL_CALLS]f[ARGS]{"a": 1}[TOOL_CALLS]g-2{}', BOTH),
    ("mistral_args", '[TOOL_CALLS]f[CALL_ID]abcd12345[ARGS]{"a": 1}', ONE),
    ("mistral_args", '[TOOL_CALLS][{"name": "f", "arguments": {"a": 1}}]', ONE),
    ("qwen3_coder", "<tool_call>\n<function=f>\n<parameter=a>1</parameter></function></tool_call>", ONE),
    ("qwen3_coder", "<function=f>\n<parameter=a>\n1\n</parameter>\n</function>", ONE),
    ("qwen3_coder", "<tool_call><function=f><parameter=a>\n1\n<parameter=s>\nx\n</function></tool_call>",
     [("f", {"a": 1, "s": "x"})]),
    ("qwen3_coder", "<tool_call>\n<function=f>\n</function>\n</tool_call>\n<tool_call><function=g-2></function>",
     [("f", {}), ("g-2", {})]),
    ("qwen3_coder", "<tool_call><function=f><parameter=a>x</parameter><parameter=z>1</parameter></function>",
     [("f", {"a": "x", "z": "1"})]),
    ("qwen3_coder", "<tool_call><function=f><parameter=b>True</parameter><parameter=o>{'n': None}</parameter>"
     "<parameter=s>\n\n 1 \n\n</parameter></function>", [("f", {"b": True, "o": {"n": None}, "s": "\n 1 \n"})]),
    ("glm", "<tool_call>f<arg_key>a</arg_key><arg_value>1</arg_value></tool_call><tool_call>g-2</tool_call>",
     BOTH),
    ("glm47", "<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>1</arg_value>\n</tool_call>\n<tool_call>g-2\n"
     "</tool_call>", BOTH),
    ("minimax", "<minimax:tool_call><invoke name=f><parameter name=a>1</parameter></invoke>"
     "<invoke name='g-2'></invoke></minimax:tool_call>", BOTH),
    ("deepseek_v3", '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{"a": 1}\n```'
     "<｜tool▁calls▁end｜>", ONE),
    ("kimi", '<|tool_call_begin|> f:12 <|tool_call_argument_begin|> {"a": 1}<|tool_call_end|>', ONE),
    ("command", '<|START_ACTION|>[{"tool_name": "f", "parameters": {"a": 1}}, {"tool_name": "g-2"}]'
     "<|END_ACTION|>", BOTH),
    ("granite", '<tool_call>[{"name": "f", "arguments": {"a": 1}}]', ONE),
    ("phi4", 'functools[{"name": "f", "arguments": {"a": 1}}, {"name": "g-2", "arguments": {}}]', BOTH),
    ("pythonic", "<|python_start|>[f(a=1), g-2()]<|python_end|>", BOTH),
    ("pythonic", "[f(a=1, b=true, k=None, s='it\\'s', l=('u', 'v'))]",
     [("f", {"a": 1, "b": True, "k": None, "s": "it's", "l": ["u", "v"]})]),
    ("lfm2", '<|tool_call_start|>[{"name": "f", "arguments": {"a": 1}}, {"name": "g-2"}]<|tool_call_end|>', BOTH),
    ("gemma3", "```tool_code\nprint(f(a=1))\nprint(g-2())\n```", BOTH),
    ("gemma4", '<|tool_call>call:f{a:1,o:{n:<|"|>q, {}<|"|>,m:[1,true]},l:[]}<tool_call|>',
     [("f", {"a": 1, "o": {"n": "q, {}", "m": [1, True]}, "l": []})]),
    ("harmony", ' to=functions.f<|channel|>commentary json<|message|>{"a": 1}<|call|>', ONE),
    ("harmony", '<|channel|>analysis to=functions.f code<|message|>{"a": 1}', ONE),
    ("harmony", "<|channel|>commentary to=functions.f<|message|> <|call|>", [("f", {})]),
    ("hermes", '<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call><tool_call>', ONE),
    ("hermes", '<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call><tool_call>{"name": "f"', ONE),
    ("pythonic", "[f(\"a\"=1)]", ONE),
    ("pythonic", f"[f(a=1, {'b' * 600}=2)]", ONE),
    ("qwen3_coder", f"<function=f><parameter={'k' * 600}>1</parameter><parameter=a>1</parameter></function>", ONE),
    ("hermes", f'<tool_call>{{"name": "f", "arguments": {{"a": 1}}, "{LONG}": 1}}</tool_call>', ONE),
    ("hermes", f'<tool_call>{{"x": ["{LONG * 9}"]}}\n<tool_call>{{"name": "f", "arguments": {{"a": 1}}}}', ONE),
]  # fmt: skip

# The form, and an answer that is all text.
TEXTS: list[tuple[ToolFormat, str]] = [
    ("hermes", '<tool_call>{"arguments": {"a": 1}}</tool_call> b'),
    ("hermes", '<tool_call>{"name": "f", "arguments": 5}</tool_call>'),
    ("hermes", '<tool_call>{"name": "f", "arguments": [1]}</tool_call>'),
    ("hermes", '<tool_call>{"name": 5}</tool_call> <tool_call>\n<function=f>'),
    ("llama3", '{"type": "object", "properties": {"name": {"type": "string"}}}'),
    ("llama3", '{"name": "f", "parameters": "no object"}'),
    ("qwen3_coder", '<tool_call>{"name": "f", "arguments": {}}</tool_call>'),
    ("qwen3_coder", "<function=nobody>\n<parameter=a>1</parameter>\n</function> <function"),
    ("glm", "<tool_call>f says <arg_key>"),
    ("glm", "<tool_call>nobody\n<arg_key>a</arg_key>\n<arg_value>1</arg_value>\n</tool_call>"),
    ("minimax", "<minimax:tool_call>\n<invoke name=\"nobody\">\n</invoke>\n</minimax:tool_call>"),
    ("deepseek_v3", "<｜tool▁calls▁begin｜> none <｜tool▁call▁begin｜>"),
    ("kimi", "<|tool_call_begin|>functions.nobody:0<|tool_call_argument_begin|>{}<|tool_call_end|>"),
    ("command", "<|START_ACTION|>nothing<|END_ACTION|>"),
    ("pythonic", "[f(1)]"),
    ("pythonic", "[f] and [f(x == 1)]"),
    ("pythonic", "see f(a=1)"),
    ("lfm2", "<|tool_call_start|>[nobody(a=1)]<|tool_call_end|>"),
    ("gemma3", "```tool_code\nimport f\n```"),
    ("gemma4", "<|tool_call>call:nobody{a:1}<tool_call|>"),
    ("harmony", "Plain <|channel|> text"),
    ("hermes", f'<tool_call>{{"{LONG}": 1, "name": "f", "arguments": {{}}}}</tool_call>'),
    ("hermes", f'<tool_call>{{"k": {"1" * 600}, "name": "f", "arguments": {{}}}}</tool_call>'),
    ("hermes", f'<tool_call>{{"x": ["{LONG * 9}", \'<tool_call>{{"name": "f"}}</tool_call>\']}}'),
]  # fmt: skip

# The dialect, an answer, its reasoning, its content.
THOUGHTS: list[tuple[ToolFormat, str, str, str]] = [
    ("seed", "<seed:think>Hm.</seed:think>Yes.", "Hm.", "Yes."),
    ("mistral", "<think>Hm.\n</think>\n\nYes.", "Hm.", "Yes."),
    ("command", "<|START_THINKING|>Hm.<|END_THINKING|><|START_RESPONSE|>Yes. <<|END_RESPONSE|>", "Hm.", "Yes. <"),
    ("command", "<|START_RESPONSE|>Yes.", "", "Yes."),
    ("command", "Yes.<|START_", "", "Yes.<|START_"),
    ("gemma4", "<|channel>thought\nHm.\n<channel|>Yes.", "Hm.", "Yes."),
    ("gemma4", "Yes.", "", "Yes."),
    ("harmony", "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes. <|",
     "Hm.", "Yes. <|"),
    ("harmony", "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>analysis<|message|>b<|end|>"
     "<|start|>assistant<|channel|>commentary<|message|>c<|end|><|start|>assistant<|channel|>final <|constrain|>"
     "json<|message|>{}<|return|>", "a\nb", "c\n{}"),
    ("harmony", "<|channel|>analysis to=python code<|message|>print(1)<|call|>", "print(1)", ""),
    ("harmony", "<|channel|>analysis<|message|>never ends <|en", "never ends <|en", ""),
    ("harmony", "<|channel|>fin", "", ""),
    ("harmony", "to be", "", "to be"),
    ("harmony", f"<|channel|>{LONG}<|message|>Yes.", "", f"<|channel|>{LONG}<|message|>Yes."),
]  # fmt: skip


def calls_of(answer: ReadAnswer) -> Calls:
    return [(call.name, json.loads(call.arguments)) for call in answer.calls]


def read_at_every_cut(dialect: Dialect, answer: str) -> ReadAnswer:
    """Read an answer in every split, assert that all readings are equal, and return it."""
    whole = read_answer(dialect, answer, TOOLS)
    for pieces in cuts(answer):
        assert read_answer(dialect, pieces, TOOLS) == whole, pieces
    return whole


@BY_NAME
def test_calls_are_read_as_they_are_written(dialect: Dialect) -> None:
    """Names, and arguments of all types, of one call or two, after text where a mark begins calls."""
    calls: Calls = [("f", ARGUMENTS), ("g-2", {})][: 2 if dialect.calls.several else 1]
    text = "" if dialect.calls.bare_head or dialect.tools == "harmony" else "So: "
    answer = read_at_every_cut(dialect, text + canonical(dialect, *calls))
    assert calls_of(answer) == calls
    assert (answer.content, answer.finish_reason) == (text, "tool_calls")


@BY_NAME
def test_arguments_may_have_any_names(dialect: Dialect) -> None:
    """Names that are no words of Python or XML, and keywords of Python."""
    arguments = {"user-id": 1, "first name": "A", "a.b": "B", "from": True, "größe": "x y", "$ref": "z"}
    properties = {name: {"type": "integer" if name == "user-id" else "string"} for name in arguments}
    properties["from"] = {"type": "boolean"}
    function = FunctionDefinition(name="f", parameters={"type": "object", "properties": properties})
    tool = Tool(type="function", function=function)
    answer = canonical(dialect, ("f", arguments))
    for pieces in ([answer.encode()], [answer[at : at + 1].encode() for at in range(len(answer))]):
        assert calls_of(read_answer(dialect, pieces, [tool])) == [("f", arguments)]


@pytest.mark.parametrize("schema", [{"type": [{"a": 1}]}, 5, {"enum": "no"}, {"$ref": 7}, {"anyOf": [[]]}, {}])
@pytest.mark.parametrize("form", ["qwen3_coder", "glm"])
def test_a_schema_that_says_nothing_leaves_text(form: ToolFormat, schema: Any) -> None:
    """However odd it is."""
    function = FunctionDefinition(name="f", parameters={"properties": {"a": schema}, "required": {}})
    dialect = dialect_named(form)
    answer = read_answer(
        dialect, canonical(dialect, ("f", {"a": "1"})), [Tool(type="function", function=function)]
    )
    assert calls_of(answer) == [("f", {"a": "1"})]


@pytest.mark.parametrize("reference", ["#/$defs/a%20b", "#/$defs/a b", "#/prefixItems/0"])
def test_a_type_is_found_wherever_a_reference_names_it(reference: str) -> None:
    """As for the grammar: by a pointer into a list too, and with its blanks escaped (RFC 6901, section 6)."""
    number = {"type": "integer"}
    schema = {"properties": {"a": {"$ref": reference}}, "$defs": {"a b": number}, "prefixItems": [number]}
    tool = Tool(type="function", function=FunctionDefinition(name="f", parameters=schema))
    dialect = dialect_named("qwen3_coder")
    answer = read_answer(dialect, canonical(dialect, ("f", {"a": "1"})), [tool])
    assert calls_of(answer) == [("f", {"a": 1})]


@pytest.mark.parametrize(("form", "answer", "calls"), TOLERATED)
def test_calls_in_other_spellings_are_read(form: ToolFormat, answer: str, calls: Calls) -> None:
    """JSON is read as JSON, and what a model leaves out or adds does not lose a call."""
    read = read_at_every_cut(dialect_named(form), answer)
    assert calls_of(read) == calls
    assert read.finish_reason == "tool_calls"


@pytest.mark.parametrize(("form", "answer"), TEXTS)
def test_no_call_is_text(form: ToolFormat, answer: str) -> None:
    """All characters come out as content."""
    read = read_at_every_cut(dialect_named(form), answer)
    assert (read.content, read.calls, read.finish_reason) == (answer, (), "stop")


@pytest.mark.parametrize(("form", "answer", "reasoning", "content"), THOUGHTS)
def test_reasoning_is_split_off(form: ToolFormat, answer: str, reasoning: str, content: str) -> None:
    """Each form of reasoning, and the marks around content, at every cut."""
    read = read_at_every_cut(dialect_named(form), answer)
    assert (read.reasoning, read.content) == (reasoning, content)


def test_marks_around_content_are_no_content() -> None:
    """With reasoning and without, closed or not, and only where they belong."""
    granite = Dialect(reasoning="response")
    for answer, reasoning, content in (
        ("<think>\nHm.\n</think>\n<response>\nYes <b>. \n</response>", "Hm.", "Yes <b>."),
        ("<think>Hm.</think><response>Yes </resp", "Hm.", "Yes </resp"),
        ("<response>Yes.</response> ", "", "Yes. "),
        ("Yes: <response>.", "", "Yes: <response>."),
        ("<think>Hm.</think>Yes.", "Hm.", "Yes."),
    ):
        read = read_at_every_cut(granite, answer)
        assert (read.reasoning, read.content) == (reasoning, content)


@BY_NAME
def test_a_call_that_is_cut_off_is_none_yet(dialect: Dialect) -> None:
    """Wherever the answer breaks off, what was read of arguments is the beginning of the whole. The reason says
    tool_calls only if they are whole."""
    answer = canonical(dialect, ("f", ARGUMENTS))
    (whole,) = read_answer(dialect, answer, TOOLS, must_call=True).calls
    for end in range(len(answer)):
        read = read_answer(dialect, answer[:end], TOOLS, must_call=True)
        arguments = read.calls[0].arguments if read.calls else ""
        assert whole.arguments.startswith(arguments)
        assert (read.finish_reason == "tool_calls") == (arguments == whole.arguments)
        assert not read.content


@pytest.mark.parametrize("form", ["hermes", "qwen3_coder", "glm", "gemma4"])
def test_texts_of_arguments_stream(form: ToolFormat) -> None:
    """A client sees a long text grow, and not only when it is complete."""
    dialect = dialect_named(form)
    answer = canonical(dialect, ("f", {"s": "one two three four"}))
    begun = answer[: answer.index("three")]
    (call,) = read_answer(dialect, begun, TOOLS).calls
    assert call.arguments.endswith("one two ")


@BY_NAME
def test_reading_takes_time_in_proportion(dialect: Dialect) -> None:
    """A long argument in small pieces is passed over a few times and not once for each piece."""
    text = "word " * 1500
    answer = canonical(dialect, ("f", {"a": 1, "s": text}))
    pieces = [answer[at : at + 4].encode() for at in range(0, len(answer), 4)]
    assert calls_of(read_answer(dialect, pieces, TOOLS)) == [("f", {"a": 1, "s": text})]

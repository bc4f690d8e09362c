"""Write the grammar of an answer, in llguidance's variant of Lark."""

import json
import re
from collections.abc import Mapping
from typing import Any

from jan.engine.formats import OutputFormat
from jan.engine.prompts.dialects import (
    ARGS_MARK,
    CALL_CLOSE,
    CALL_OPEN,
    MISTRAL_MARK,
    THINK_CLOSE,
    THINK_OPEN,
    Dialect,
    ToolFormat,
)
from jan.schema.chat import Tool

# Compact JSON, because with free white space a small model may spend its whole budget on line breaks.
_JSON_OPTIONS: dict[str, Any] = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}

# Most calls in one answer. A small model that must call would otherwise never stop calling.
_MAX_CALLS = 16

_TEXT = r"TEXT: /(.|\n)*/"
_UNESCAPED_SLASH = re.compile(r"(\\.)|/", re.DOTALL)


class Spelling:
    """Writes marks such as ``<tool_call>`` in a grammar: as a control token if the vocabulary has it, else as
    text."""

    def __init__(self, control: Mapping[bytes, int]) -> None:
        self._control = control

    def of(self, mark: str) -> str:
        """Return the mark as a grammar writes it."""
        token = self._control.get(mark.encode())
        return json.dumps(mark) if token is None else f"<[{token}]>"

    def lead(self, name: str, before: str, mark: str) -> str:
        """Return a rule for free text up to a mark.

        The rule is lazy, so that the first mark ends the text. A control token needs no lazy rule: text has none.
        """
        lazy = "" if mark.encode() in self._control else "[lazy]"
        return f"{name}{lazy}: {before} TEXT {self.of(mark)}"


def grammar_of(output: OutputFormat, dialect: Dialect, spelling: Spelling) -> str | None:
    """Return the grammar of an output format, None if anything is allowed."""
    content = _content(output, dialect.tools, spelling)
    if content is None or not dialect.reasoning:
        return content
    # Free reasoning comes first. If the prompt has opened the block, the answer must close it.
    once = "" if dialect.begins_inside else "?"
    before = "" if dialect.begins_inside else spelling.of(THINK_OPEN)
    thinking = spelling.lead("reasoning", before, THINK_CLOSE)
    # A nested grammar has names of its own, so they can't collide.
    nested = f"content: %lark {{\n{content}\n}}"
    return "\n".join([f"start: (reasoning SPACE){once} content", r"SPACE: /\n{0,2}/", thinking, _TEXT, nested])


def _content(output: OutputFormat, form: ToolFormat, spelling: Spelling) -> str | None:
    if output.callable_tools:
        return _with_calls(output, form, spelling)
    if output.json_schema:
        return f"start: {json_rule(json.loads(output.json_schema))}"
    return f"start: /{_slashed(output.regex)}/" if output.regex else output.grammar or None


def _slashed(regex: str) -> str:
    """Return a regular expression as it may stand between slashes."""
    return _UNESCAPED_SLASH.sub(lambda found: found[1] or r"\/", regex).replace("\n", r"\n")


def _with_calls(output: OutputFormat, form: ToolFormat, spelling: Spelling) -> str | None:
    """Return the grammar of tool calls, and of the content that is allowed instead."""
    bodies = [_body_rule(index, tool, form, spelling) for index, tool in enumerate(output.callable_tools)]
    any_body = " | ".join(f"body_{index}" for index in range(len(bodies)))
    opening, between, closing = _around(form, spelling)
    # Llama's templates allow only one call in a message.
    several = output.parallel_calls and form != "llama3"
    more = f"({between} body){{0,{_MAX_CALLS - 1}}}" if several else ""
    lines = [f"body: {any_body}", *bodies, f"calls: {opening} body {more} {closing}"]
    if output.must_call:
        return "\n".join(["start: calls", *lines])
    if output.json_schema:
        answer = f"answer: {json_rule(json.loads(output.json_schema))}"
        return "\n".join(["start: calls | answer", answer, *lines])
    if form == "llama3":
        return None  # without a mark, a call can't be told from other text
    # Free text up to the first mark, and only valid calls after it.
    mark = MISTRAL_MARK if form.startswith("mistral") else CALL_OPEN
    rest = opening.removeprefix(spelling.of(mark))
    free = [f"start: lead {rest} body {more} {closing} | TEXT", spelling.lead("lead", "", mark), _TEXT]
    return "\n".join([*free, *lines[:-1]])


def _around(form: ToolFormat, spelling: Spelling) -> tuple[str, str, str]:
    """Return the text before, between and after the bodies of calls."""
    if form == "hermes":
        return spelling.of(CALL_OPEN), f'"\\n" {spelling.of(CALL_OPEN)}', ""
    if form == "mistral":
        return f'{spelling.of(MISTRAL_MARK)} "["', '", "', '"]"'
    return ("", "", "") if form == "llama3" else (spelling.of(MISTRAL_MARK), spelling.of(MISTRAL_MARK), "")


def _body_rule(index: int, tool: Tool, form: ToolFormat, spelling: Spelling) -> str:
    """Return the rule of one call, without the marks around it."""
    name, key = tool.function.name, "parameters" if form == "llama3" else "arguments"
    opening, closing = json.dumps(f'{{"name": {json.dumps(name)}, "{key}": '), '"}"'
    if form == "hermes":
        opening, closing = f'"\\n" {opening}', f'"}}\\n" {spelling.of(CALL_CLOSE)}'
    elif form == "mistral_args":
        opening, closing = f"{json.dumps(name)} {spelling.of(ARGS_MARK)}", ""
    return (
        f"body_{index}: {opening} arguments_{index} {closing}\narguments_{index}: {json_rule(parameters_of(tool))}"
    )


def json_rule(schema: dict[str, Any]) -> str:
    """Return the rule of JSON that a schema accepts."""
    return "%json " + json.dumps({**schema, "x-guidance": _JSON_OPTIONS})


def parameters_of(tool: Tool) -> dict[str, Any]:
    """Return the schema of a tool's arguments."""
    return tool.function.parameters or {"type": "object"}

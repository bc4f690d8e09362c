"""Write the grammar of an answer, in llguidance's variant of Lark."""

import json
import re
from functools import lru_cache

import msgspec

from jan.engine.formats import OutputFormat
from jan.engine.grammars.ascii_classes import with_ascii_classes
from jan.engine.grammars.call_grammar import body_rules
from jan.engine.grammars.gbnf import is_gbnf, lark_of, literal
from jan.engine.grammars.lark import ANY_TEXT, Spelling, json_rule
from jan.engine.prompts.dialects import CallForm, Dialect, ReasoningForm

# Most calls in one answer. A small model that must call would otherwise never stop calling.
_MAX_CALLS = 16

_UNESCAPED_SLASH = re.compile(r"(\\.)|/", re.DOTALL)


def grammar_of(output: OutputFormat, dialect: Dialect, spelling: Spelling) -> str | None:
    """Return the grammar of an output format, None if anything is allowed."""
    form, marks = dialect.calls, dialect.thoughts
    content = _content(output, form, spelling)
    if content is None or marks is None:
        return content
    if marks.in_channels or marks.content_open:
        content = _marked_content(output, form, marks, spelling)
    if marks.in_channels:
        return _with_messages(content, dialect.begins_inside, spelling)
    # Free reasoning comes first. If the prompt has opened the block, the answer must close it.
    once = "" if dialect.begins_inside else "?"
    before = "" if dialect.begins_inside else spelling.of(marks.open)
    thinking = spelling.text_up_to("reasoning", ANY_TEXT, marks.close, before)
    return "\n".join(
        [f"start: (reasoning SPACE){once} content", r"SPACE: /\n{0,2}/", thinking, _nested("content", content)]
    )


def _nested(name: str, grammar: str) -> str:
    """Return the rule of a grammar inside another. It has names of its own, so they can't collide."""
    return f"{name}: %lark {{\n{grammar}\n}}"


def _marked_content(output: OutputFormat, form: CallForm, marks: ReasoningForm, spelling: Spelling) -> str:
    """Return the grammar of content that stands between marks unless it is calls."""
    alternatives, lines = [], []
    if output.callable_tools:
        calls = msgspec.structs.replace(output, must_call=True, json_schema="")
        alternatives.append("called")
        lines.append(_nested("called", _with_calls(calls, form, spelling) or ""))
    if not output.must_call:
        alone = _content(msgspec.structs.replace(output, callable_tools=()), form, spelling)
        free = spelling.text_without(form.mark) if output.callable_tools else ANY_TEXT
        lines.append(_nested("answer", alone or f"start: TEXT\nTEXT: {free}"))
        opening, closing = spelling.of(marks.content_open), spelling.of(marks.content_close)
        once = "" if marks.in_channels else "?"
        after = f"({closing})?" if closing else ""
        alternatives.append("said")
        lines.append(f"said: ({opening}){once} answer {after}")
    return "\n".join([f"start: {' | '.join(alternatives)}", *lines])


def _with_messages(content: str, begins_inside: bool, spelling: Spelling) -> str:
    """Return the grammar of an answer in channels: any messages of reasoning and remarks, then the content."""
    channel, message = spelling.of("<|channel|>"), spelling.of("<|message|>")
    end = "<|end|><|start|>assistant"
    first = spelling.text_up_to("first", ANY_TEXT, end)
    before = f'{channel} ("analysis" | "commentary") {message}'
    start = f"start: {'first ' if begins_inside else ''}remark* content"
    return "\n".join([start, first, f"remark: {before} first", _nested("content", content)])


def _content(output: OutputFormat, form: CallForm, spelling: Spelling) -> str | None:
    if output.callable_tools:
        return _with_calls(output, form, spelling)
    if output.json_schema:
        return f"start: {json_rule(json.loads(output.json_schema))}"
    if output.choices:
        return "start: " + " | ".join(map(literal, output.choices))
    if output.regex:
        return f"start: /{_slashed(with_ascii_classes(output.regex))}/"
    return lark_grammar(output.grammar) if output.grammar else None


@lru_cache(64)
def lark_grammar(grammar: str) -> str:
    """Return a request's grammar in Lark. Raises ValueError if it is GBNF that can't be read."""
    return lark_of(grammar) if is_gbnf(grammar) else grammar


def _slashed(regex: str) -> str:
    """Return a regular expression as it may stand between slashes."""
    return _UNESCAPED_SLASH.sub(lambda found: found[1] or r"\/", regex).replace("\n", r"\n")


def _with_calls(output: OutputFormat, form: CallForm, spelling: Spelling) -> str | None:
    """Return the grammar of tool calls, and of the content that is allowed instead."""
    bodies = [body_rules(index, tool, form, spelling) for index, tool in enumerate(output.callable_tools)]
    any_body = " | ".join(f"body_{index}" for index in range(len(bodies)))
    following, closing = spelling.of(form.between + form.before_name), spelling.of(form.closing)
    several = output.parallel_calls and form.several
    more = f"({following} body){{0,{_MAX_CALLS - 1}}}" if several else ""
    lines = [f"body: {any_body}", *bodies]
    calls = f"calls: {spelling.of(form.begins)} body {more} {closing}"
    if output.must_call:
        return "\n".join(["start: calls", calls, *lines])
    if output.json_schema:
        answer = f"answer: {json_rule(json.loads(output.json_schema))}"
        return "\n".join(["start: calls | answer", answer, calls, *lines])
    if not form.mark:
        return None  # without a mark, a call can't be told from other text
    # Free text up to the first mark, and only valid calls after it.
    rest = spelling.of(form.begins.removeprefix(form.mark))
    free = f"start: lead {rest} body {more} {closing} | TEXT"
    lead = spelling.text_up_to("lead", "TEXT", form.mark)
    return "\n".join([free, lead, f"TEXT: {ANY_TEXT}", *lines])

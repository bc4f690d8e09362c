"""Recognise the form of tool calls and reasoning that a chat template shows."""

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from jan.engine.prompts.dialects.dialect import Dialect, ReasoningOption, ToolFormatOption
from jan.engine.prompts.dialects.forms import CallForm, ReasoningForm, ReasoningFormat
from jan.engine.prompts.dialects.heads import head_pattern, name_in
from jan.engine.prompts.dialects.known_forms import CALLS, REASONING, TOOL_FORMATS, ToolFormat
from jan.engine.prompts.dialects.spelling import call_as_text

_SPACE = re.compile(r"\s+")
# The key at the end of what stands before a name or before arguments in JSON.
_KEY = re.compile(r'"(\w+)":\s*"?\Z')
_DECODER = json.JSONDecoder()


class ShownCall(msgspec.Struct, frozen=True):
    """A conversation with one tool call, as a chat template renders it.

    ``text``: the rendered conversation. ``prompt``: the same without the call and all after it, with the opening
    of an answer. ``name``, ``arguments``, ``call_id``: the call.
    """

    text: str
    prompt: str
    name: str
    arguments: Mapping[str, Any]
    call_id: str


def dialect_of(
    template: str,
    tool_format: ToolFormatOption = "auto",
    reasoning: ReasoningOption = "auto",
    shown: ShownCall | None = None,
) -> Dialect:
    """Return the dialect of a model's answers.

    Args:
        template: the source of the chat template.
        tool_format, reasoning: settings that override what the template shows.
        shown: a call as the template renders it; None if it renders none.
    """
    form = shown_form(shown)
    if tool_format == "auto" or (tool_format == "mistral" and form in ("mistral_args", "mistral_ids")):
        return _dialect(form or hinted_form(template) or "hermes", shown_reasoning(template), reasoning)
    return _dialect(tool_format, shown_reasoning(template), reasoning)


def dialect_named(tool_format: ToolFormatOption, reasoning: ReasoningOption = "auto") -> Dialect:
    """Return the dialect of a family of models, for which no template speaks."""
    tools: ToolFormat = "hermes" if tool_format == "auto" else tool_format
    return _dialect(tools, CALLS[tools].reasoning, reasoning)


def _dialect(tools: ToolFormat, thoughts: ReasoningFormat, reasoning: ReasoningOption) -> Dialect:
    """Return a dialect. Channels are always read, because content and calls stand in one too."""
    if CALLS[tools].reasoning == "harmony":
        thoughts = "harmony"
    in_channels = bool(thoughts) and REASONING[thoughts].in_channels
    return Dialect(tools=tools, reasoning=thoughts if reasoning == "auto" or in_channels else "")


def shown_reasoning(template: str) -> ReasoningFormat:
    """Return the form of reasoning whose marks stand in a template, '' if none do."""
    return next((name for name, marks in REASONING.items() if _shows_marks(template, marks)), "")


def _shows_marks(template: str, marks: ReasoningForm) -> bool:
    """Return True if a template has the marks that tell a form from others. Of reasoning, many only cut it off."""
    return all(mark in template for mark in (marks.close, marks.content_open))


def shown_form(shown: ShownCall | None) -> ToolFormat | None:
    """Return the form in which a template renders a call; None if it is none of the table."""
    if shown is None:
        return None
    text = shown.text
    if shown.name not in text.removeprefix(shown.prompt) and shown.call_id in text:
        text = text.replace(shown.call_id, f"functions.{shown.name}:0")
    text = text.replace(shown.call_id, "call00000")
    for space in (None, _SPACE):
        written = [
            (len(call), name) for name in TOOL_FORMATS if (call := _written_in(text, CALLS[name], shown, space))
        ]
        if written:
            return max(written)[1]
    return next((name for name in TOOL_FORMATS if _read_in(text, CALLS[name], shown)), None)


def _written_in(text: str, form: CallForm, shown: ShownCall, space: "re.Pattern[str] | None") -> str:
    """Return the call if a text has it as the form writes it, else ''. ``space``: what makes no difference."""
    # What stands around all calls may be missing where each of them has a mark.
    marked = any(form.before_name.startswith(mark) for mark in form.marks)
    written = msgspec.structs.replace(form, opening="", closing="") if marked else form
    call = call_as_text(written, shown.name, shown.arguments)
    text = text if form.mark else text.removeprefix(shown.prompt)
    if space is not None:
        call, text = space.sub("", call), space.sub("", text)
    before, found, _ = text.partition(call)
    return found if form.mark or not _without_marks(before, form).strip() else ""


def _without_marks(text: str, form: CallForm) -> str:
    for mark in (*form.marks, *form.closers, "<|python_start|>", "<|python_end|>"):
        text = text.replace(mark, "")
    return text


def _read_in(text: str, form: CallForm, shown: ShownCall) -> bool:
    """Return True if a text has the call in JSON, with more keys or another order than the form writes."""
    if form.shown_head and any(name_in(head) == shown.name for head in head_pattern(form.shown_head).all_in(text)):
        return True
    if form.arguments != "json":
        return False
    for mark in form.marks:
        at = text.rfind(mark)
        head = head_pattern(form.head).match(text, at) if at >= 0 else None
        if head is None:
            continue
        listed = not name_in(head) and "[" in head[0].removeprefix(mark)
        if listed != ("[" in form.begins.removeprefix(mark)):
            continue
        try:
            value, _ = _DECODER.raw_decode(text, head.end())
        except ValueError:
            continue
        if name_in(head) == shown.name and value == shown.arguments:
            return form.begins == mark
        name_key, arguments_key = (_KEY.search(text) for text in (form.before_name, form.after_name))
        if name_key and arguments_key and isinstance(value, dict):
            return (value.get(name_key[1]), value.get(arguments_key[1])) == (shown.name, shown.arguments)
    return False


def hinted_form(template: str) -> ToolFormat | None:
    """Return the form of which a template has words that templates of other forms lack, None if there is none."""
    for name in TOOL_FORMATS:
        hints = CALLS[name].hints
        if hints and all(hint in template for hint in hints):
            return name
    return None

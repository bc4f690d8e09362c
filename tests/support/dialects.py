"""Calls in every dialect, and a small vocabulary with the marks of each, for its readers and its grammars."""

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from jan.engine.prompts.dialects import CallForm, Dialect, call_as_text, dialect_named
from jan.engine.prompts.dialects.known_forms import CALLS, REASONING, TOOL_FORMATS
from jan.schema.tools import FunctionDefinition, Tool

PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "a": {"type": "integer"},
        "s": {"type": "string"},
        "k": {"enum": ["x", "y z"]},
        "b": {"type": "boolean"},
        "o": {
            "type": "object",
            "properties": {"n": {"type": "string"}, "m": {"type": "number"}},
            "required": ["n"],
        },
        "l": {"type": "array", "items": {"type": "string"}},
        "p": {"type": "string", "pattern": "^[a-c]+$"},
    },
    "required": ["a", "s"],
}
TOOLS = (
    Tool(type="function", function=FunctionDefinition(name="f", parameters=PARAMETERS)),
    Tool(type="function", function=FunctionDefinition(name="g-2")),
)
ARGUMENTS = {
    "a": -3,
    "s": 'He said "}\']",\n<x> ä, [f(1)] {"k": 1}',
    "k": "y z",
    "b": True,
    "o": {"n": "q"},
    "l": ["u", "v"],
    "p": "abc",
}
DIALECTS = [dialect_named(name) for name in TOOL_FORMATS]
# Bytes, then the end of an answer, then control tokens.
END = 256
_MARK = re.compile(r"<[^<>\s]+>|\[/?[A-Z_]+\]")


def canonical(dialect: Dialect, *calls: tuple[str, dict[str, Any]]) -> str:
    """Return an answer of calls, as the dialect writes it."""
    form = dialect.calls
    alone = msgspec.structs.replace(form, opening="", closing="")
    written = [call_as_text(alone, name, arguments, index) for index, (name, arguments) in enumerate(calls)]
    return form.opening + form.between.join(written) + form.closing


def template_of(dialect: Dialect) -> str:
    """Return a chat template that shows tools, and calls in a dialect."""
    form = dialect.calls
    if dialect.tools == "harmony":  # gpt-oss's own template writes the recipient before the channel
        call = (
            "<|start|>assistant to=functions.{{ c.function.name }}<|channel|>commentary json<|message|>"
            "{{ c.function.arguments | tojson }}<|call|>"
        )
        return _TEMPLATE.replace("CALLS", call.join(("{% for c in m.tool_calls %}", "{% endfor %}")))
    name = "{{ c.id }}" if form.ids == "named" else _shown(form.before_name) + "{{ c.function.name }}"
    call = name + _shown(form.after_name.split(":\0")[-1]) + _shown_arguments(form) + _shown(form.end)
    if form.ids == "named":
        call = _shown(form.before_name.removesuffix("functions.")) + call
    between = "{% if not loop.last %}" + _shown(form.between) + "{% endif %}"
    calls = "{% for c in m.tool_calls %}" + call + between + "{% endfor %}"
    nine = "{% if m.tool_calls[0].id | length != 9 %}{{ raise_exception('nine') }}{% endif %}"
    before = nine if form.ids == "nine" else ""
    return _TEMPLATE.replace("CALLS", before + _shown(form.opening) + calls + _shown(form.closing))


_TEMPLATE = (
    "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}{% if m.tool_calls %}<|a|>CALLS"
    "{% else %}<|{{ m.role[0] }}|>{{ m.content }}{% endif %}<|e|>{% endfor %}"
    "{% if add_generation_prompt %}<|a|>{% endif %}"
)


def _shown(text: str) -> str:
    """Return text as a template writes it."""
    parts = re.split("([\0\1])", text)
    places = {"\0": "{{ loop.index0 }}", "\1": "{{ c.id }}"}
    return "".join(places.get(part) or ("{{ " + json.dumps(part) + " }}" if part else "") for part in parts)


def _shown_arguments(form: CallForm) -> str:
    one = form.argument
    if one is None:
        return "{{ c.function.arguments | tojson }}"
    value = {
        "marked": "{{ v }}",
        "python": "{{ v | tojson }}",
        "compact": _shown(one.quote) + "{{ v }}" + _shown(one.quote),
    }
    pair = (
        _shown(one.before_key)
        + "{{ k }}"
        + _shown(one.key_end + one.before_value)
        + value[form.arguments]
        + _shown(one.end)
    )
    return "{% for k, v in c.function.arguments.items() %}" + pair + "{% endfor %}"


def cuts(text: str) -> Iterator[list[bytes]]:
    """Yield splits of the bytes into two, every one of a short text, and splits into tokens of several lengths."""
    data = text.encode()
    yield from ([data[:at], data[at:]] for at in range(0, len(data) + 1, len(data) // 120 + 1))
    yield from ([data[at : at + size] for at in range(0, len(data), size)] for size in (1, 2, 3, 5, 7))


def marks_of(dialect: Dialect) -> dict[bytes, int]:
    """Return the marks of a dialect as control tokens, each with an id."""
    found = _MARK.findall(" ".join([*_texts_of(dialect.calls), "<|start|>"]))
    if dialect.reasoning:
        marks = REASONING[dialect.reasoning]
        found += _MARK.findall(f"{marks.open} {marks.close} {marks.content_open} {marks.content_close}")
    return {mark.encode(): END + 1 + at for at, mark in enumerate(dict.fromkeys(found))}


def _texts_of(form: CallForm) -> list[str]:
    one = form.argument
    texts = [form.opening, form.before_name, form.after_name, form.end, form.closing]
    return texts if one is None else [*texts, one.before_key, one.key_end, one.before_value, one.end, one.quote]


def tokens_of(text: str, control: dict[bytes, int]) -> list[int]:
    """Return a text as tokens: control tokens where it spells them, else bytes."""
    either = re.compile(b"|".join(map(re.escape, sorted(control, key=len, reverse=True))) or b"(?!)")
    tokens: list[int] = []
    at, data = 0, text.encode()
    for found in either.finditer(data):
        tokens += [*data[at : found.start()], control[found[0]]]
        at = found.end()
    return [*tokens, *data[at:]]


__all__ = [
    "ARGUMENTS",
    "CALLS",
    "DIALECTS",
    "END",
    "PARAMETERS",
    "TOOLS",
    "canonical",
    "cuts",
    "marks_of",
    "template_of",
    "tokens_of",
]

"""What models say and call: the same contents are written in every dialect by its writer."""

import random
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from support.peers.writers import Arguments, Writer

STRING, INTEGER, NUMBER, BOOLEAN = ({"type": kind} for kind in ("string", "integer", "number", "boolean"))
TOOLS: tuple[dict[str, Any], ...] = tuple(
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": properties}}}
    for name, properties in {
        "weather": {"city": STRING, "days": INTEGER},
        "now": {},
        "save": {"path": STRING, "text": STRING, "overwrite": BOOLEAN},
        "search_all": {
            "query": STRING,
            "limit": INTEGER,
            "score": NUMBER,
            "exact": BOOLEAN,
            "tags": {"type": "array", "items": STRING},
            "filter": {"type": "object"},
            "after": {"type": ["string", "null"]},
        },
    }.items()
)

ROME = ("weather", {"city": "Rome"})
OSLO = ("weather", {"city": "Oslo", "days": 3})
NOW = ("now", {})
CODE = 'def f(x):\n    if x < 1 and x > -1:\n        return "a\\n"\n    return {"k": [x]}'

#: Arguments of one call each.
ARGUMENTS: Mapping[str, tuple[str, Arguments]] = {
    "one argument": ROME,
    "two arguments": OSLO,
    "no arguments": NOW,
    "a nested object": ("search_all", {"query": "q", "filter": {"a": {"b": {"c": [1, {"d": None}]}}, "e": True}}),
    "an empty object": ("search_all", {"filter": {}}),
    "an array": ("search_all", {"tags": ["a", "b c", "d,e"]}),
    "an empty array": ("search_all", {"tags": []}),
    "numbers": ("search_all", {"limit": 0, "score": -2.5}),
    "a large number": ("search_all", {"limit": 12345678901234567890, "score": 1e-07}),
    "booleans": ("search_all", {"exact": True}),
    "a false boolean": ("save", {"path": "a", "overwrite": False}),
    "null": ("search_all", {"query": "q", "after": None}),
    "letters of other scripts": ("weather", {"city": "Zürich, 東京, Москва, القاهرة"}),
    "emoji": ("weather", {"city": "👩‍👩‍👧 Rome 🇮🇹 🎉"}),
    "backslashes": ("save", {"path": "C:\\new\\table", "text": "a\\\\b\\u0041"}),
    "quotes": ("save", {"path": "a", "text": "She said \"hi\" and 'bye'."}),
    "line breaks": ("save", {"path": "a.py", "text": CODE}),
    "outer white space": ("save", {"path": "a", "text": "  two spaces  "}),
    "tabs": ("save", {"path": "a", "text": "a\tb"}),
    "brackets in a string": ("save", {"path": "a", "text": "}]})>{[( {{x}} [[y]]"}),
    "commas and colons in a string": ("save", {"path": "a", "text": "a: 1, b: 2; c=3"}),
    "markup in a string": ("save", {"path": "a.html", "text": "<b>bold</b> &amp; <br/> <!-- c -->"}),
    "JSON in a string": ("save", {"path": "a.json", "text": '{"name": "weather", "arguments": {"city": "Rome"}}'}),
    "a number as a string": ("weather", {"city": "123"}),
    "true as a string": ("save", {"path": "true", "text": "null"}),
    "an object as a string": ("save", {"path": "{}", "text": "[1, 2]"}),
    "an empty string": ("weather", {"city": ""}),
    "a long string": ("save", {"path": "a", "text": "word " * 60 + "end"}),
    "a key without a schema": ("weather", {"city": "Rome", "unit": "C"}),
}

_OBJECT = '"arguments": {"city": "Rome"}'
#: Spellings of one call as JSON that models use beside the usual one.
SPELLINGS: Mapping[str, str] = {
    "no white space": '{"name":"weather","arguments":{"city":"Rome"}}',
    "much white space": '{\n  "name" : "weather" ,\n  "arguments" : {\n    "city" : "Rome"\n  }\n}',
    "arguments first": f'{{{_OBJECT}, "name": "weather"}}',
    "parameters": '{"name": "weather", "parameters": {"city": "Rome"}}',
    "a type": f'{{"type": "function", "name": "weather", {_OBJECT}}}',
    "an id before": f'{{"id": "call_1", "name": "weather", {_OBJECT}}}',
    "an id after": f'{{"name": "weather", {_OBJECT}, "id": "123456789"}}',
    "an extra object": f'{{"name": "weather", "x": {{"arguments": {{}}}}, {_OBJECT}}}',
    "escapes": '{"name": "weather", "arguments": {"city": "R\\u006fme\\n\\"x\\" \\ud83c\\udf89"}}',
    "no arguments": '{"name": "now"}',
    "null arguments": '{"name": "now", "arguments": null}',
}


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """An answer of a model, and what it means: None where that is for the peers to say.

    ``inside``: the prompt has opened the block of reasoning.
    """

    name: str
    text: str
    inside: bool = False
    meaning: tuple[str, str, tuple[tuple[str, Any], ...]] | None = None


def _meant(reasoning: str = "", content: str = "", *calls: tuple[str, Any]) -> Any:
    return reasoning, content, calls


def outputs(writer: Writer) -> Iterator[Output]:
    """Yield the corpus of one dialect."""
    for what, call in ARGUMENTS.items():
        yield Output(name=f"a call with {what}", text=writer.calls([call]), meaning=_meant("", "", call))
    yield from _around_calls(writer)
    yield from _no_calls(writer)
    if writer.json_call is not None:
        before, after = writer.json_call
        for what, spelling in SPELLINGS.items():
            yield Output(name=f"JSON with {what}", text=f"{before}{spelling}{after}")
    if writer.thoughts[0]:
        yield from _with_reasoning(writer)


def _content(writer: Writer, text: str) -> str:
    return f"{writer.before_content}{text}{writer.after_content}"


def _around_calls(writer: Writer) -> Iterator[Output]:
    two, one = writer.calls([ROME, OSLO]), writer.calls([ROME])
    yield Output(name="two calls", text=two, meaning=_meant("", "", ROME, OSLO))
    three = writer.calls([ROME, NOW, OSLO])
    yield Output(name="three calls", text=three, meaning=_meant("", "", ROME, NOW, OSLO))
    same = writer.calls([ROME, ROME])
    yield Output(name="the same call twice", text=same, meaning=_meant("", "", ROME, ROME))
    text = "I look it up."
    if not writer.before_content and writer.marks:
        yield Output(name="text before a call", text=f"{text}\n{one}")
        yield Output(name="text on the line of a call", text=f"{text} {one}")
        yield Output(name="text after a call", text=f"{one}\nThat was it.")
        yield Output(name="text around a call", text=f"{text}\n{one}\nThat was it.")
        yield Output(name="text between two calls", text=f"{one}\nAnd now:\n{writer.calls([OSLO])}")
    yield Output(name="white space before a call", text=f"\n\n{one}")
    yield Output(name="white space after a call", text=f"{one}\n\n")
    yield Output(name="an unknown tool", text=writer.calls([("launch", {"city": "Rome"})]))
    yield Output(name="a known and an unknown tool", text=writer.calls([ROME, ("launch", {"a": "b"})]))
    for tenth in (3, 5, 7, 9):
        yield Output(name=f"a call cut at {tenth} tenths", text=two[: len(two) * tenth // 10])


def _no_calls(writer: Writer) -> Iterator[Output]:
    for what, text in {
        "text": "Rome is sunny.",
        "lines": "Rome:\n\n- sunny\n- warm\n",
        "code": f"```python\n{CODE}\n```",
        "JSON": 'The answer is {"city": "Rome", "days": [1, 2]}.',
        "markup": "<p>1 < 2 & 3 > 2</p>",
        "brackets": "See [1] and [2](http://a.example).",
    }.items():
        yield Output(name=f"only {what}", text=_content(writer, text), meaning=_meant("", text))
    for mark in writer.marks:
        yield Output(name=f"a mention of {mark!r}", text=f"Write {mark} to call a tool.")
        yield Output(name=f"text that ends with {mark!r}", text=f"The mark is {mark}")


def _with_reasoning(writer: Writer) -> Iterator[Output]:
    opened, closed = writer.thoughts
    thought, text = "The user wants the weather.\nI call a tool.", "Rome is sunny."
    content, one = _content(writer, text), writer.calls([ROME])
    block = f"{opened}{thought}{closed}"
    yield Output(name="reasoning and text", text=f"{block}{content}", meaning=_meant(thought, text))
    yield Output(name="reasoning and a call", text=f"{block}{one}", meaning=_meant(thought, "", ROME))
    if not writer.before_content:
        lines = f"{opened}\n{thought}\n{closed}\n\n"
        yield Output(name="reasoning on lines, and text", text=f"{lines}{text}", meaning=_meant(thought, text))
        yield Output(
            name="reasoning on lines, and a call", text=f"{lines}{one}", meaning=_meant(thought, "", ROME)
        )
        yield Output(name="reasoning, text and a call", text=f"{lines}{text}\n{one}")
        yield Output(name="empty reasoning", text=f"{opened}\n\n{closed}\n\n{text}", meaning=_meant("", text))
    yield Output(name="reasoning that is cut", text=f"{opened}{thought}")
    yield Output(name="reasoning that mentions a call", text=f"{opened}Shall I {one}?{closed}{content}")
    yield Output(name="reasoning after text", text=f"{content}{block}")
    yield Output(
        name="reasoning that the prompt opened",
        text=f"{thought}{closed}{content}",
        inside=True,
        meaning=_meant(thought, text),
    )
    yield Output(
        name="reasoning that the prompt opened, and a call",
        text=f"{thought}{closed}{one}",
        inside=True,
        meaning=_meant(thought, "", ROME),
    )
    yield Output(name="reasoning that the prompt opened, cut", text=thought, inside=True)


_WORDS = (
    "Rome",
    "東京",
    "a b",
    'say "x"',
    "it's",
    "1",
    "true",
    "a\nb",
    "{x}",
    "<b>",
    "👩‍👧",
    "C:\\d",
    "a, b: c",
    "[1]",
)


def random_outputs(writer: Writer, seed: str, count: int) -> Iterator[Output]:
    """Yield answers of random calls, the same ones for a seed."""
    draw = random.Random(seed)
    for at in range(count):
        calls = tuple((name, _random_arguments(draw, name)) for name in draw.choices(["save", "search_all"], k=2))
        calls = calls[: draw.choice((1, 1, 2))]
        yield Output(name=f"random calls {at}", text=writer.calls(calls), meaning=_meant("", "", *calls))


def _random_arguments(draw: random.Random, name: str) -> dict[str, Any]:
    text = lambda: " ".join(draw.choices(_WORDS, k=draw.randint(1, 3)))  # noqa: E731
    if name == "save":
        return {"path": text(), "text": text(), "overwrite": draw.random() < 0.5}
    values = {
        "query": text(),
        "limit": draw.randint(-5, 10**6),
        "score": round(draw.uniform(-9, 9), 3),
        "exact": draw.random() < 0.5,
        "tags": [text() for _ in range(draw.randint(0, 3))],
        "filter": {"a": [draw.randint(0, 9), {"b": text(), "c": None}]},
    }
    return {key: values[key] for key in draw.sample(sorted(values), draw.randint(1, 6))}


@cache
def _odd_answers() -> dict[str, dict[str, str]]:
    file = Path(__file__).parent / "odd_answers.yaml"
    return msgspec.yaml.decode(file.read_bytes(), type=dict[str, dict[str, str]])


def odd_outputs(dialect: str) -> Iterator[Output]:
    """Yield the answers of a dialect in other spellings."""
    for name, text in _odd_answers().get(dialect, {}).items():
        yield Output(name=name, text=text)

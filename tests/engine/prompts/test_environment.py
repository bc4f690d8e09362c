"""The sandbox of chat templates: what transformers gives to them, and how their failures are told."""

from datetime import datetime
from typing import Any

import pytest

from jan.engine.prompts.environment import CompiledTemplate
from jan.errors import ConfigurationError, InvalidRequest

VALUE = {"b": "é <&>", "a": [1, None]}


def render(source: str, **variables: Any) -> str:
    return CompiledTemplate(source, lambda: datetime(2026, 7, 26)).render({"x": VALUE, **variables})


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("", '{"b": "é <&>", "a": [1, null]}'),
        ("(ensure_ascii=False)", '{"b": "é <&>", "a": [1, null]}'),
        ("(ensure_ascii=True)", '{"b": "\\u00e9 <&>", "a": [1, null]}'),
        ("(true, 1)", '{\n "b": "\\u00e9 <&>",\n "a": [\n  1,\n  null\n ]\n}'),
        ("(separators=(',', ':'), sort_keys=True)", '{"a":[1,null],"b":"é <&>"}'),
        ("(indent=none, separators=[', ', '=', ][:2])", '{"b"="é <&>", "a"=[1, null]}'),
    ],
)
def test_tojson_has_all_arguments(arguments: str, text: str) -> None:
    """The filter takes what transformers' takes, and never escapes for HTML."""
    assert render("{{ x | tojson" + arguments + " }}") == text


def test_the_tags_and_functions_of_transformers_are_there() -> None:
    """Generation blocks show their body, loops can be left, and the clock can be asked."""
    assert render("{% generation %}a{% set y = 1 %}{{ x.b }}{% endgeneration %}{{ y }}") == "aé <&>"
    assert render("{% for i in [1, 2, 3] %}{% if i == 2 %}{% continue %}{% endif %}{{ i }}{% endfor %}") == "13"
    assert render("{% for i in [1, 2] %}{% generation %}{% break %}{% endgeneration %}{{ i }}{% endfor %}") == ""
    assert render("{{ strftime_now('%d %b %Y') }}") == "26 Jul 2026"
    assert render("a\n  {% if true %}\nb\n  {% endif %}\nc") == "a\nb\nc"


@pytest.mark.parametrize(
    ("source", "line", "reason"),
    [
        ("a\n{% if %}", 2, "Expected an expression"),
        ("a\n\n{{ x | nothing }}", 3, "No filter named 'nothing'"),
        ("{% wibble %}", 1, "unknown tag 'wibble'"),
        ("a\n{% if x %}\n\n{% break %}{% endif %}", 4, "'break' outside loop"),
        ("{% for i in x %}{% endfor %}\n{% continue %}", 2, "'continue' not properly in loop"),
        ("{% for i in x %}" * 30 + "{% endfor %}" * 30, 1, "too many statically nested blocks"),
        ("{% generation %}", 1, "endgeneration"),
    ],
)
def test_a_template_that_is_no_template_is_told_with_its_line(source: str, line: int, reason: str) -> None:
    """The server does not start, and says where the template is wrong."""
    with pytest.raises(ConfigurationError) as refused:
        CompiledTemplate(source)
    assert refused.value.message.startswith(f"The model's chat template can't be read, line {line}: ")
    assert reason in refused.value.message
    assert "\n" not in refused.value.message


@pytest.mark.parametrize(
    "expression",
    [
        "1 / 0",
        "5 % 0",
        "10.0 ** 400",
        "'a' + 1",
        "missing.attribute",
        "x.b.nothing()",
        "[].pop()",
        "range(10 ** 9) | length",
        "'x'.encode('wibble')",
        "x['a'][7].b",
        "strftime_now(3)",
        "raise_exception('no such role.')",
        "raise_exception(x)",
        "''.__class__.__mro__",
        "x.update({})",
        "self.wibble()",
        "'a' * 10 ** 15",
        "missing | tojson",
        "(x,) | map('wibble') | list",
        "5 is divisibleby(0)",
        "cycler()",
    ],
)
def test_whatever_fails_while_rendering_is_a_refusal(expression: str) -> None:
    """A failure of the template is a 400 with its words, and no failure of the server."""
    template = CompiledTemplate("{% if go %}{{ " + expression + " }}{% endif %}")
    assert template.render({}) == ""
    with pytest.raises(InvalidRequest) as refused:
        template.render({"x": VALUE, "go": True})
    assert refused.value.code == "unsupported_messages"
    assert refused.value.message.startswith("The model's chat template does not take these messages: ")


def test_endless_recursion_is_a_refusal() -> None:
    """A macro that calls itself ends."""
    with pytest.raises(InvalidRequest, match="recursion"):
        render("{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}")


def test_a_template_that_takes_too_long_is_a_refusal() -> None:
    """One that reads all messages again for each message does not hold up others for minutes."""
    source = "{% for a in x %}{% for b in x %}{% if b.c == a.c %}{% endif %}{% endfor %}{% endfor %}done"
    assert render(source, x=[{"c": 1}] * 100) == "done"
    with pytest.raises(InvalidRequest, match="It takes too long"):
        render(source, x=[{"c": 1}] * 4096)
    assert render("{{ x.b }}") == "é <&>"


def test_the_variables_of_a_template_are_known() -> None:
    """They are what it reads and does not make itself; functions of the sandbox are none."""
    source = (
        "{% set a = b %}{{ a.c }}{{ range(1) }}{{ namespace(x=1).x }}{{ strftime_now('') }}{{ d if e is defined }}"
    )
    assert CompiledTemplate(source).variables == {"b", "d", "e"}
    branches = (
        "{% if a %}{% set b = 1 %}{% set c = 1 %}{% else %}{% if c is not defined %}{{ b }}{% endif %}{% endif %}"
    )
    assert CompiledTemplate(branches).variables == {"a", "c"}

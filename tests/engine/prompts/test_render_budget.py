"""Chat templates that would run for ever or fill the memory are stopped, and the others render what they did."""

import pytest

from jan.engine.prompts import render_budget
from jan.engine.prompts.chat_template import ChatTemplate
from jan.engine.prompts.environment import CompiledTemplate, TemplateTooCostly
from jan.errors import ConfigurationError, InvalidRequest

GROWN = "{%% set ns = namespace(x=%s) %%}{%% for i in range(60) %%}{%% set ns.x = %s %%}{%% endfor %%}%s"
#: Namespaces that are filled when the lists that have them twice are there.
LATE = "".join(f"{{% set n{i} = namespace() %}}{{% set a{i} = [n{i}, n{i}] %}}" for i in range(41)) + "".join(
    f"{{% set n{i + 1}.x = a{i} %}}" for i in range(40)
)
#: Each would take hours or more memory than there is.
ENDLESS = {
    "loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "macros": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(40) }}",
    "constant": '{{ "a" * (6 * 10**9) }}',
    "constant filter": '{{ "a" | center(6000000000) }}',
    "power": "{{ 2 ** (messages | length * 10**9) }}",
    "sum": GROWN % ("'a'", "ns.x + ns.x", ""),
    "joined": GROWN % ("'a'", "ns.x ~ ns.x", ""),
    "block": "{% set ns = namespace(x='a') %}{% for i in range(60) %}"
    "{% set ns.x %}{{ ns.x }}{{ ns.x }}{% endset %}{% endfor %}",
    "lists": GROWN % ("[1]", "ns.x + ns.x", ""),
    "nested lists": GROWN % ("['a']", "[ns.x, ns.x]", "{{ ns.x }}"),
    "nested calls": GROWN % ("{}", "dict(a=ns.x, b=ns.x)", "{{ ns.x | tojson }}"),
    "namespaces": GROWN % ("1", "namespace(a=ns.x, b=ns.x)", "{{ ns.x }}"),
    "cyclers": GROWN % ("1", "cycler(ns.x, ns.x).items", "{{ ns.x == ns.x }}"),
    "arguments": "{% set ns = namespace(x=1) %}{% macro f() %}{% set ns.x = varargs %}{% endmacro %}"
    "{% for i in range(60) %}{{ f(ns.x, ns.x) }}{% endfor %}{{ ns.x }}",
    "views": GROWN % ("{}", "{'a': ns.x.items(), 'b': ns.x.items()}", "{{ ns.x }}"),
    "output": "{% set x = 'a' * 100000000 %}{% for i in range(99) %}{{ x }}{% endfor %}",
    "center": "{{ 'a'.center(10**10) }}",
    "percent": "{{ '%10000000000d' % 1 }}",
    "percent of an argument": "{{ '%*d' % (10**9, 1) }}",
    "format": "{{ '{:>10000000000}'.format(1) }}",
    "format of an argument": "{{ '{:{}}'.format(1, 10**9) }}",
    "format filter": "{{ '%10000000000d' | format(1) }}",
    "many filtered": "{{ range(99999) | map('string') | map('center', 1000000) | list | length }}",
    "replace": "{{ ('a' * 1000000).replace('a', 'b' * 1000000) }}",
    "replace filter": "{{ ('a' * 1000000) | replace('a', 'b' * 1000000) }}",
    "translate": "{{ ('a' * 1000000).translate({97: 'b' * 1000000}) }}",
    "join": "{{ ('b' * 1000000).join(['a'] * 100000) }}",
    "join filter": "{{ range(99999) | join('b' * 1000000) }}",
    "indent": "{{ ('\\n' * 1000000) | indent(1000000) }}",
    "tojson": "{{ [1, [2]] | tojson(indent=10**10) }}",
    "tabs": "{{ ('\\t' * 1000000).expandtabs(1000000) }}",
    "batch": "{{ [1] | batch(10**9, 'x') | list }}",
    "bytes": "{{ (1).to_bytes(10**10, 'big') }}",
    "wordwrap": "{{ ('a' * 100000) | wordwrap(1, wrapstring='b' * 100000) }}",
    "urlize": "{{ ('http://a.b ' * 1000000) | urlize }}",
}  # fmt: skip


ENDLESS |= {
    f"late {how}": LATE + how
    for how in (
        *("{{ a40 }}", "{{ a40 ~ '' }}", "{{ a40 | string }}", "{{ '%s' % a40 }}", "{{ '{}'.format(a40) }}"),
        "{{ a40 | list | tojson }}",
    )
}


@pytest.mark.parametrize("name", ENDLESS)
def test_a_template_without_end_is_stopped(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a smaller budget than the server's, which would take a second for each."""
    monkeypatch.setattr(render_budget, "_MOST_STEPS", 120_000)
    monkeypatch.setattr(render_budget, "_MOST_PARTS", 20_000)
    template = CompiledTemplate(ENDLESS[name])
    with pytest.raises(TemplateTooCostly) as stopped:
        template.render({"messages": [{"role": "user", "content": "hi"}]})
    assert stopped.value.code == "unsupported_messages"


@pytest.mark.parametrize("source", ["{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "{{ lipsum(n=1000000) }}"])
def test_depth_without_end_and_a_million_words_are_refused(source: str) -> None:
    with pytest.raises(InvalidRequest):
        CompiledTemplate(source).render({"messages": []})


def test_a_model_whose_template_never_ends_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="uses too much for 1 short messages: It takes too long"):
        ChatTemplate(ENDLESS["loops"])


def test_each_rendering_has_a_budget_of_its_own() -> None:
    template = CompiledTemplate("{% for i in range(99999) %}{% for m in messages %}{% endfor %}{% endfor %}")
    for _ in range(3):
        assert template.render({"messages": [1, 2, 3]}) == ""


@pytest.mark.parametrize(
    "each",
    [
        "{{ messages | length }}",
        "{{ messages | last == m }}",
        "{% if loop.index0 == (messages | length) - 1 %}{{ m.content }}{% endif %}",
        "{{ last(messages, loop.index) }}",
        "{{ m | tojson }}{{ m.content in ('a', 'b') }}{{ m == messages[0] }}",
    ],
)
def test_a_template_may_look_at_the_list_of_messages_for_each_message(each: str) -> None:
    """Whatever their number, as long as it does not go through all of them."""
    macro = "{% macro last(all, n) %}{{ all[n - 1].role }}{% endmacro %}"
    source = macro + "{% for m in messages %}" + each + "{% endfor %}"
    messages = [{"role": "user", "content": "a"} for _ in range(20_000)]
    assert CompiledTemplate(source).render({"messages": messages})


@pytest.mark.parametrize("append", ["ns.text + m", "ns.text ~ m"])
def test_a_template_may_append_each_of_many_messages_to_a_text(append: str) -> None:
    """A megabyte in a thousand messages, so that all beginnings together are half a gigabyte."""
    source = "{% set ns = namespace(text='') %}{% for m in messages %}{% set ns.text = APPEND %}{% endfor %}"
    template = CompiledTemplate(source.replace("APPEND", append) + "{{ ns.text }}")
    assert template.render({"messages": ["a" * 1000] * 1000}) == "a" * 1_000_000


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{% for m in messages %}{{ loop.index }}/{{ loop.length }}{{ loop.last }} {% endfor %}",
         "1/3False 2/3False 3/3True "),
        ("{% for m in messages if m != 'b' %}{{ loop.length }}{{ m }}{% endfor %}", "2a2c"),
        ("{% for m in nothing %}x{% else %}none{% endfor %}", "none"),
        ("{% for k, v in {'a': 1}.items() %}{{ k ~ v ~ [1, (2, none)] }}{% endfor %}", "a1[1, (2, None)]"),
        ("{% for x in [[1, [2]], [3]] recursive %}"
         "{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}{% endif %}{% endfor %}", "(1(2))(3)"),
        ("{{ '-' * 3 + '%s!' % 'a' + '{:>3}'.format('b') + messages | join(', ') + ','.join(messages) }}",
         "---a!  ba, b, ca,b,c"),
        ("{{ [1] + [2] }}{{ 2 ** 3 * 2 % 5 }}{{ messages[::-1] }}{{ 'abc'[1:] }}", "[1, 2]1['c', 'b', 'a']bc"),
        ("{% set t %}x{{ messages | length }}{% endset %}{{ t | replace('x', 'yy') | indent(2, true) }}", "  yy3"),
        ("{{ messages | map('upper') | select('ne', 'B') | list | tojson(indent=1) }}", '[\n "A",\n "C"\n]'),
        ("{{ 1730000000 | default(0) }}{{ (undefined_one | default(10 ** 12)) }}", "17300000001000000000000"),
    ],
)  # fmt: skip
def test_other_templates_render_as_jinja_renders_them(source: str, text: str) -> None:
    assert CompiledTemplate(source).render({"messages": ["a", "b", "c"]}) == text

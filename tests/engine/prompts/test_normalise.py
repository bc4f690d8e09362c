"""Messages, tools and options as templates get them: whatever a template can't take is fitted to it."""

import json
import re
from typing import Any

import msgspec
import pytest
from support import templates
from support.chats import ANSWER, ASKED, FOREIGN, NOW, called, prompt, render, result, template_of

from jan.engine.prompts.chat_template import ChatTemplate
from jan.errors import InvalidRequest
from jan.schema.tools import Tool

# --- arguments ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ('{"city": "Röm", "days": [1, {"a": null}]}', {"city": "Röm", "days": [1, {"a": None}]}),
        ("", {}),
        (" \n", {}),
        ("null", {}),
        ('{"city": "R', {"arguments": '{"city": "R'}),
        ("no JSON", {"arguments": "no JSON"}),
        ("NaN", {"arguments": "NaN"}),
        ("5", {"arguments": 5}),
        ('["a"]', {"arguments": ["a"]}),
        ('"a"', {"arguments": "a"}),
        ('"{\\"a\\": 1}"', {"a": 1}),
        ('{"a": "\\ud800"}', {"arguments": '{"a": "\\ud800"}'}),
        ('{"a": 1e999}', {"arguments": '{"a": 1e999}'}),
        ("[" * 100_000, {"arguments": "[" * 100_000}),
        ('{"a":' * 101 + "1" + "}" * 101, {"arguments": '{"a":' * 101 + "1" + "}" * 101}),
    ],
    ids=lambda value: str(value)[:20],
)
def test_arguments_are_an_object(arguments: str, shown: dict[str, Any]) -> None:
    """Whatever a model or a gateway wrote: a template that reads a mapping gets one, and shows no broken JSON."""
    text = render(templates.TOOL_USE, ASKED, called(arguments), result(), tools=[NOW])
    (line,) = [line for line in text.split("\n") if '"arguments": ' in line]
    assert json.loads(line) == {"name": "now", "arguments": shown}
    text = render(templates.XML, ASKED, called(arguments), result(), tools=[NOW])
    assert text.count("<parameter=") == len(shown)


def test_a_template_of_texts_gets_texts() -> None:
    """Arguments that are an object stay as they were written; others become one."""
    for sent, shown in (
        ('{"a":1}', '{"a":1}'),
        ("", "{}"),
        ("5", '{"arguments":5}'),
        ('{"a', '{"arguments":"{\\"a"}'),
    ):
        text = render(templates.DEEPSEEK, ASKED, called(sent), result())
        assert f"now\n```json\n{shown}\n```" in text


def test_a_call_without_text_has_the_content_that_shows_it() -> None:
    """Some templates show a call only where the content is null, others fail at null."""
    for content in (None, ""):
        assert "<｜tool▁sep｜>now" in render(templates.DEEPSEEK, ASKED, called("{}", content=content))
        assert "<tool_call>" in render(templates.TOOL_USE, ASKED, called("{}", content=content), tools=[NOW])


# --- ids ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("foreign", [FOREIGN, "1", "", "functions.now:0", "abc-12345", "abcdefghij", "éééééééé1"])
def test_foreign_ids_are_fitted_and_stay_paired(foreign: str) -> None:
    """A template that wants nine letters or digits gets them, the same for a call and its result."""
    history = [ASKED, called("{}", ids=[foreign]), result(call_id=foreign), ANSWER, ASKED]
    text = render(templates.NINE, *history, tools=[NOW])
    shown = text.split('"id": "')[1][:9]
    assert shown.isalnum()
    assert shown.isascii()
    assert f'"call_id": "{shown}"}}[/TOOL_RESULTS]' in text


def test_ids_that_fit_stay() -> None:
    """Nine letters or digits are what such a template wants, and other templates take any id."""
    assert '"id": "abcDEF123"' in render(templates.NINE, ASKED, called("{}", ids=["abcDEF123"]), tools=[NOW])
    kept = render(
        "{% for m in messages %}{{ m.content }}{{ m.tool_call_id }}{% for c in m.tool_calls or [] %}{{ c.id }} "
        "<tool_call>{{ c.function | tojson }}{% endfor %}{% endfor %}{{ tools }}",
        ASKED,
        called("{}"),
        result(),
        tools=[NOW],
    )
    assert kept.count(FOREIGN) == 2


def test_a_template_that_names_a_call_by_its_id_gets_the_name() -> None:
    """Calls are numbered through the conversation, and each result has the id of its call."""
    history = [ASKED, called("{}", "{}"), result("b", "b"), result("a"), called("{}", ids=["b"]), result("c", "b")]
    text = render(templates.KIMI, *history)
    for number in range(3):
        assert f"<|tool_call_begin|>functions.now:{number}<" in text
    assert "## Return of functions.now:1\nb<" in text
    assert "## Return of functions.now:0\na<" in text
    assert "## Return of functions.now:2\nc<" in text


@pytest.mark.parametrize("source", [templates.NINE, templates.KIMI])
def test_calls_that_share_an_id_get_their_own(source: str) -> None:
    """Some gateways give no id, or the same to all calls of a message: results belong to them in turn."""
    text = render(source, ASKED, called("{}", "{}", ids=["", ""]), result("A", ""), result("B", ""))
    shown = re.findall(r'"id": "(\w+)"|call_begin\|>([\w.:]+)', text)
    first, second = ("".join(one) for one in shown)
    assert first != second
    results = re.findall(r'"call_id": "(\w+)"|Return of ([\w.:]+)', text)
    assert ["".join(one) for one in results] == [first, second]


def test_ids_that_are_too_short_are_fitted() -> None:
    """A template that cuts ids to nine characters takes long ones, and would refuse a short one."""
    source = templates.NINE.replace("| length != 9", "| length < 9")
    assert source != templates.NINE
    for sent in ("1", "", FOREIGN):
        text = render(source, ASKED, called("{}", ids=[sent]), result(call_id=sent), tools=[NOW])
        (shown,) = re.findall(r'"id": "(\w{9})"', text)
        assert f'"call_id": "{shown}"' in text


@pytest.mark.parametrize("shown", ["m.name", "(m.name if m.name else raise_exception('no name'))"])
def test_results_have_the_name_of_their_function(shown: str) -> None:
    """Where the template shows it or even needs it: clients of OpenAI's API send only the id."""
    source = templates.TOOL_USE.replace("'<|im_start|>tool\\n", "'<|im_start|>tool ' + " + shown + " + '\\n")
    assert shown in source
    assert "<|im_start|>tool now\n" in render(source, ASKED, called("{}"), result(), tools=[NOW])
    told = {**result(), "name": "own"}
    assert "<|im_start|>tool own\n" in render(source, ASKED, called("{}"), told, tools=[NOW])


def test_a_result_in_the_older_form_belongs_to_its_function() -> None:
    """A message of the role function has no id, and gets that of the call, which may be in the older form too."""
    told = {"role": "function", "name": "now", "content": "12:00"}
    old = {"role": "assistant", "content": None, "function_call": {"name": "now", "arguments": ""}}
    text = render(templates.NINE, ASKED, old, told, tools=[NOW])
    (call,) = re.findall(r'"arguments": {}, "id": "(\w{9})"', text)
    assert f'"call_id": "{call}"' in text
    text = render(templates.NINE, ASKED, called("{}", ids=["abcDEF123"]), told, tools=[NOW])
    assert '"call_id": "abcDEF123"' in text


# --- tools ----------------------------------------------------------------------------------------------


def test_tools_are_shown_as_they_were_sent() -> None:
    """Names stay in their order, those that nothing here knows too; nothing is added but missing parameters."""
    sent = {
        "function": {
            "x-own": {"a": 1},
            "parameters": {"type": "object", "properties": {"b": {}}},
            "strict": True,
            "name": "now",
            "description": "É",
        },
        "type": "function",
        "more": None,
    }
    shown = render(templates.TOOL_USE, ASKED, tools=[sent]).split("<tools>")[1].split("</tools>")[0]
    assert shown == (
        '{"function": {"x-own": {"a": 1}, "parameters": {"type": "object", "properties": {"b": {}}}, '
        '"name": "now", "description": "É"}, "type": "function", "more": null}'
    )


@pytest.mark.parametrize("source", [templates.TOOL_USE, templates.PLAIN, templates.NO_SYSTEM, templates.XML])
@pytest.mark.parametrize("absent", [{}, {"strict": None, "description": None, "parameters": None}])
def test_what_was_not_sent_is_not_shown(source: str, absent: dict[str, Any]) -> None:
    """No null and no strict reach the model; parameters are an object without any."""
    text = render(source, ASKED, tools=[{"type": "function", "function": {"name": "now", **absent}}])
    assert "null" not in text
    assert "None" not in text
    assert "strict" not in text
    assert '{"type": "object", "properties": {}}' in text


def test_a_template_that_needs_a_description_gets_one() -> None:
    """An empty one, where a tool has none."""
    source = templates.TOOL_USE.replace(
        "{{ tool | tojson }}", "// {{ tool.function.description + tool.function.name }}"
    )
    assert "// now" in render(source, ASKED, tools=[NOW])
    described = {**NOW, "function": {"name": "now", "description": "Time: "}}
    assert "// Time: now" in render(source, ASKED, tools=[described])


@pytest.mark.parametrize(
    ("schema", "shown"),
    [
        ({"properties": {"a": {"type": "any"}}, "required": "a"}, "now(a: any, )"),
        ({"properties": ["a"]}, "now()"),
        ({"properties": {"a": None, "b": {"type": "string"}, "c": 1}}, "now(a: any?, b: string?, c: any?, )"),
        ({"properties": {"a": {"type": "string", "description": 5, "enum": 5}}}, "now(a: string?, )"),
        ({"properties": {"a": {"type": "integer"}}, "required": True}, "now(a: integer?, )"),
    ],
    ids=str,
)
def test_a_malformed_schema_is_shown_as_far_as_a_template_can(schema: dict[str, Any], shown: str) -> None:
    """A template that writes each property by itself gets none that is no schema. JSON is shown as it was sent."""
    tool = {"type": "function", "function": {"name": "now", "parameters": schema}}
    assert shown in render(templates.SIGNATURES, ASKED, tools=[tool])
    assert json.dumps(schema) in render(templates.TOOL_USE, ASKED, tools=[tool])


def test_messages_are_refused_for_their_own_reason() -> None:
    """Tools that are well-formed change nothing about it."""
    for schema in ({"type": "object"}, {"type": "any"}):
        tool = {"type": "function", "function": {"name": "now", "parameters": schema}}
        source = templates.TOOL_USE + "{{ raise_exception('Not today') }}"
        with pytest.raises(InvalidRequest, match="Not today"):
            ChatTemplate(source).render(prompt([ASKED], [tool]))


def test_a_template_may_list_tools_and_hide_calls() -> None:
    """Then only the calls and results of the past are written into the messages."""
    text = render(templates.LISTED, ASKED, called('{"at": "R"}'), result(), tools=[NOW])
    assert "You may call" not in text
    assert 'assistant\n<tool_call>\n{"name": "now", "arguments": {"at": "R"}}\n</tool_call><|im_end|>' in text
    assert "user\n<tool_response>\n12:00\n</tool_response>" in text


def test_a_tool_that_a_hook_changed_is_shown_as_changed() -> None:
    """What the client sent counts only as long as it is what is asked for."""
    asked = prompt([ASKED], [{**NOW, "function": {"name": "now", "description": "The time."}}])
    other = msgspec.convert({"type": "function", "function": {"name": "now", "description": "Else."}}, Tool)
    text = template_of(templates.TOOL_USE).render(msgspec.structs.replace(asked, tools=(other,)))
    assert "Else." in text
    assert "The time." not in text


def test_named_templates_are_taken_where_they_are_meant() -> None:
    """tool_use for tools and for a history with calls, rag for documents, else the default."""
    named = {"tool_use": templates.TOOL_USE, "rag": templates.GENERATION, "wibble": "no"}
    template = ChatTemplate(templates.PLAIN, named=named)
    assert template.render(prompt([ASKED])) == "<|im_start|>user\nTime?<|im_end|>\n<|im_start|>assistant\n"
    assert "<tools>" in template.render(prompt([ASKED], [NOW]))
    assert "\n<tool_response>\n12:00" in template.render(prompt([ASKED, called("{}"), result()]))
    assert "<doc>A: b</doc>" in template.render(prompt([ASKED], documents=({"title": "A", "text": "b"},)))


# --- contents, names, reasoning -------------------------------------------------------------------------


def test_parts_are_joined_where_tools_are_text() -> None:
    """Also those of a call's message and of its result."""
    told = {**result(), "content": [{"type": "text", "text": "12"}, {"type": "text", "text": ":00"}]}
    asked = {**called("{}"), "content": [{"type": "text", "text": "Let me "}, {"type": "text", "text": "see."}]}
    text = render(templates.PLAIN, ASKED, asked, told, tools=[NOW])
    assert "<tool_response>\n12:00\n</tool_response>" in text
    assert "assistant\nLet me see.\n" in text


def test_contents_have_the_form_that_the_template_takes() -> None:
    """A text for one that takes texts, parts for one that takes parts."""
    parts = {"role": "user", "content": [{"type": "text", "text": "Ti"}, {"type": "text", "text": "me?"}]}
    assert "user\nTime?<" in render(templates.PLAIN, parts)
    assert render(templates.PARTS, parts) == render(templates.PARTS, ASKED) == "user: Time?\nassistant: "
    assert "]~b]user\nTi\nme?[e~[" in render(templates.MINIMAX, parts)


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_reaches_a_template_that_shows_it(name: str) -> None:
    """Under either name, and a template that shows none is said to have ignored it."""
    history = prompt([ASKED, {**called("{}"), name: "It is noon."}, result()])
    assert "<think>It is noon.</think>" in template_of(templates.GLM).render(history)
    assert template_of(templates.GLM).render_chat(history).ignored == ()
    assert template_of(templates.PLAIN).render_chat(history).ignored == (f"messages[1].{name}",)


def test_names_reach_a_template_that_shows_them() -> None:
    """A template that shows none is said to have ignored them."""
    asked = prompt([{**ASKED, "name": "Ada"}, {**ANSWER, "name": "Jan"}])
    assert "]~b]user name=Ada\nTime?" in template_of(templates.MINIMAX).render(asked)
    assert template_of(templates.MINIMAX).render_chat(asked).ignored == ()
    assert template_of(templates.PLAIN).render_chat(asked).ignored == ("messages[0].name", "messages[1].name")


# --- options --------------------------------------------------------------------------------------------


def test_a_template_gets_its_variables() -> None:
    """Those that it reads; a switch that it lacks is said to be ignored."""
    template = template_of(templates.GLM)
    assert "Time?/nothink" in template.render(prompt([ASKED], template_options={"enable_thinking": False}))
    chat = template.render_chat(
        prompt([ASKED], template_options={"reasoning_effort": "high", "enable_thinking": True})
    )
    assert "nothink" not in chat.text
    assert chat.ignored == ("reasoning_effort",)


def test_an_effort_is_a_switch_where_a_template_has_no_levels() -> None:
    """Only the effort `none` turns reasoning off. A switch that is sent itself wins."""
    template = template_of(templates.GLM)
    for options, off, ignored in (
        ({"reasoning_effort": "none"}, True, ()),
        ({"reasoning_effort": "low"}, False, ("reasoning_effort",)),
        ({"reasoning_effort": "none", "enable_thinking": True}, False, ()),
    ):
        chat = template.render_chat(prompt([ASKED], template_options=options))
        assert ("nothink" in chat.text, chat.ignored) == (off, ignored)


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"template_options": {"wibble": 1}}, "chat_template_kwargs.wibble"),
        ({"documents": ({"text": "a"},)}, "documents"),
    ],
)
def test_a_variable_that_the_template_lacks_is_refused(options: dict[str, Any], param: str) -> None:
    """It would change nothing in silence."""
    with pytest.raises(InvalidRequest) as refused:
        template_of(templates.GLM).render(prompt([ASKED], **options))
    assert refused.value.param == param


@pytest.mark.parametrize("source", templates.OWN.values(), ids=templates.OWN)
@pytest.mark.parametrize(
    "content", ["Once upon", [{"type": "text", "text": "Once "}, {"type": "text", "text": "upon"}]]
)
def test_a_message_is_continued_in_every_template(source: str, content: Any) -> None:
    """The prompt ends with the text, also where messages are joined or split into parts."""
    text = render(source, ASKED, ANSWER, {"role": "assistant", "content": content}, continue_final_message=True)
    assert text.endswith("upon")

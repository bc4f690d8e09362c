"""Chat templates: the dialect that they show, and how prompts are rendered."""

import re
from typing import Any, get_args

import pytest
from support.dialects import DIALECTS, template_of
from support.server import ROOT

from jan.engine.base import ChatForms, ChatPrompt
from jan.engine.prompts.chat_template import ChatTemplate
from jan.engine.prompts.dialects import Dialect, ReasoningFormat, ToolFormat, ToolFormatOption, call_as_text
from jan.engine.prompts.dialects.known_forms import CALLS, REASONING, TOOL_FORMATS
from jan.errors import InvalidRequest
from jan.schema.messages import AssistantMessage, Message, SentFunction, SentToolCall, ToolMessage, UserMessage
from jan.schema.tools import FunctionDefinition, Tool

# Short templates in the styles of the models' own.
CHATML = """{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content | trim }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
QWEN = (
    "{% if tools %}<tools>{% for t in tools %}{{ t | tojson }}{% endfor %}</tools>{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content.split('</think>')[-1] }}"
    "{% for c in m.tool_calls or [] %}<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
OPENED = QWEN.replace("assistant\n{% endif", "assistant\n<think>\n{% endif")
LLAMA = (
    "{{ bos_token }}{% if tools is not none %}{% for t in tools %}{{ t | tojson }}{% endfor %}{% endif %}"
    "{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{% if m.tool_calls %}{% if m.tool_calls|length != 1 %}{{ raise_exception('one call at a time') }}{% endif %}"
    '{"name": "{{ m.tool_calls[0].function.name }}", "parameters": '
    "{{ m.tool_calls[0].function.arguments | tojson }}}{% else %}{{ m.content }}{% endif %}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% if tools %}[AVAILABLE_TOOLS]{{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}"
    "{% for m in messages %}{% if m.role == 'user' %}[INST]{{ m.content }}[/INST]"
    "{% elif m.tool_calls %}[TOOL_CALLS][{% for c in m.tool_calls %}{{ c.function | tojson }}{% endfor %}]"
    "{{ eos_token }}{% elif m.role == 'tool' %}[TOOL_RESULTS]{{ m.content }}[/TOOL_RESULTS]"
    "{% else %}{{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
)
MISTRAL_ARGS = MISTRAL.replace(
    "[{% for c in m.tool_calls %}{{ c.function | tojson }}{% endfor %}]",
    "{% for c in m.tool_calls %}{{ c.function.name }}[ARGS]{{ c.function.arguments | tojson }}{% endfor %}",
)

ASKED = UserMessage(content="Weather?")
CALLED = AssistantMessage(
    tool_calls=[SentToolCall(id="call12345", function=SentFunction(name="look", arguments='{"at": "Ulm"}'))]
)
TOLD = ToolMessage(content="Sun.", tool_call_id="call12345")
TOOL = Tool(type="function", function=FunctionDefinition(name="look", parameters={"type": "object"}))


def prompt(*messages: Message, **options: Any) -> ChatPrompt:
    return ChatPrompt(messages=messages, **options)


@pytest.mark.parametrize(
    ("template", "option", "form", "thinks"),
    [
        (CHATML, "auto", "hermes", False),
        (CHATML, "mistral", "mistral", False),
        (QWEN, "auto", "hermes", True),
        (QWEN, "llama3", "llama3", True),
        (LLAMA, "auto", "llama3", False),
        (MISTRAL, "auto", "mistral", False),
        (MISTRAL_ARGS, "auto", "mistral_args", False),
        (MISTRAL_ARGS, "mistral", "mistral_args", False),
        (MISTRAL_ARGS, "hermes", "hermes", False),
    ],
)
def test_a_template_shows_the_dialect(
    template: str, option: ToolFormatOption, form: ToolFormat, thinks: bool
) -> None:
    """The template shows the form of tool calls, unless the option sets another one, and if there is reasoning."""
    thoughts: ReasoningFormat = "think" if thinks else ""
    assert ChatTemplate(template, tool_format=option).dialect == Dialect(tools=form, reasoning=thoughts)
    assert not ChatTemplate(template, tool_format=option, reasoning="off").dialect.reasoning


@pytest.mark.parametrize(
    ("template", "call"),
    [
        (QWEN, '<tool_call>{"name": "look", "arguments": {"at": "Ulm"}}</tool_call>'),
        (LLAMA, '{"name": "look", "parameters": {"at": "Ulm"}}<|eot_id|>'),
        (MISTRAL, '[TOOL_CALLS][{"name": "look", "arguments": {"at": "Ulm"}}]</s>'),
        (MISTRAL_ARGS, '[TOOL_CALLS]look[ARGS]{"at": "Ulm"}</s>'),
    ],
)
def test_calls_and_results_go_through_the_template(template: str, call: str) -> None:
    """Tools, calls and results are rendered in the template's own form, and nothing is added."""
    text = ChatTemplate(template, "<s>", "</s>").render(prompt(ASKED, CALLED, TOLD, tools=(TOOL,)))
    assert call in text
    assert '"name": "look"' in text.split(call)[0]
    assert "Sun." in text.split(call)[1]
    assert "<tool_response>" not in text
    assert text.count("<s>") == (0 if template is QWEN else 1)


@pytest.mark.parametrize(
    ("option", "call"),
    [
        ("hermes", '<tool_call>\n{"name": "look", "arguments": {"at": "Ulm"}}\n</tool_call>'),
        ("llama3", '{"name": "look", "parameters": {"at": "Ulm"}}'),
        ("mistral", '[TOOL_CALLS][{"name": "look", "arguments": {"at": "Ulm"}}]'),
    ],
)
def test_a_template_without_tools_gets_them_as_text(option: ToolFormatOption, call: str) -> None:
    """Instructions and history have the form that is parsed in the answer."""
    text = ChatTemplate(CHATML, tool_format=option).render(prompt(ASKED, CALLED, TOLD, tools=(TOOL,)))
    assert f"<|im_start|>assistant\n{call}<|im_end|>" in text
    assert call.split('"look"')[0] in text.split("<|im_start|>user")[0]
    assert "<tool_response>\nSun." in text


@pytest.mark.parametrize("template", [CHATML, QWEN, LLAMA, MISTRAL])
@pytest.mark.parametrize("begun", ["Once upon a", "It ends with spaces  ", "a</s>b<|im_end|>"])
def test_a_message_is_continued_where_it_ends(template: str, begun: str) -> None:
    """The prompt ends exactly with the message, without its closing tokens, and begins only once."""
    made = ChatTemplate(template, "<s>", "</s>")
    text = made.render(prompt(ASKED, AssistantMessage(content=begun), continue_final_message=True))
    assert text.endswith(begun)
    assert text.count("Weather?") == 1
    assert text.startswith("<s>") == (template in (LLAMA, MISTRAL))
    assert text.count("assistant") == (0 if template == MISTRAL else 1)


def test_a_message_that_the_template_hides_is_not_continued() -> None:
    """A message that is not rendered is refused instead of ignored."""
    with pytest.raises(InvalidRequest, match="does not show the last message"):
        ChatTemplate("{{ messages[0].content }}").render(
            prompt(ASKED, AssistantMessage(content="a"), continue_final_message=True)
        )


def test_the_prompt_may_open_the_block() -> None:
    """Then the answer begins inside the block. A user's text, or a closed block, does not count."""
    made = ChatTemplate(OPENED)
    for said in ("Hello", "</think>", "<think>"):
        asked = prompt(UserMessage(content=said))
        assert made.answer_dialect(asked, made.render(asked)).begins_inside
    unopened = ChatTemplate(QWEN)
    asked = prompt(UserMessage(content="<think>"))
    assert not unopened.answer_dialect(asked, unopened.render(asked)).begins_inside
    closed = ChatTemplate(OPENED.replace("<think>\n{%", "<think>\n\n</think>\n\n{%"))
    assert not closed.answer_dialect(asked, closed.render(asked)).begins_inside


@pytest.mark.parametrize(("begun", "inside"), [("<think>Let", True), ("Let", False), ("<think>a</think>b", False)])
def test_a_continued_message_may_be_within_reasoning(begun: str, inside: bool) -> None:
    """The answer begins in the reasoning only if its block is open; otherwise all text is content."""
    made = ChatTemplate(QWEN)
    asked = prompt(ASKED, AssistantMessage(content=begun), continue_final_message=True)
    dialect = made.answer_dialect(asked, made.render(asked))
    assert (dialect.reasoning, dialect.begins_inside) == ("think" if inside else "", inside)


def test_the_generation_prompt_may_be_left_out() -> None:
    """The prompt ends with the messages."""
    assert ChatTemplate(CHATML).render(prompt(ASKED, add_generation_prompt=False)).endswith("Weather?<|im_end|>\n")


def test_what_a_template_refuses_is_told() -> None:
    """The message has the template's own words."""
    with pytest.raises(InvalidRequest, match=r"does not take these messages: only small talk\."):
        ChatTemplate(CHATML + "{{ raise_exception('only small talk.') }}").render(prompt(ASKED))


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.tools)
def test_every_form_is_recognised_by_what_a_template_renders(dialect: Dialect) -> None:
    """Tools go through a template that shows calls in a form of the table, though forms share marks."""
    made = ChatTemplate(template_of(dialect))
    assert made.forms == ChatForms(dialect=dialect.tools, tools="native", reasoning=made.dialect.reasoning)


def test_a_family_is_known_by_words_of_its_template() -> None:
    """Its template lists tools and shows no calls; LFM 2's does so."""
    listed = "{% if tools %}<|tool_list_start|>{{ tools | tojson }}{% endif %}"
    source = listed + "{% for m in messages %}{{ m.content }}{% endfor %}"
    assert ChatTemplate(source).forms == ChatForms(dialect="lfm2", tools="native", reasoning="")


def test_channels_are_always_read() -> None:
    """Content and calls of gpt-oss stand in channels, whatever the template or the option says of reasoning."""
    (harmony,) = (dialect for dialect in DIALECTS if dialect.tools == "harmony")
    assert ChatTemplate(template_of(harmony), reasoning="off").dialect == harmony


@pytest.mark.parametrize(
    "call",
    [
        "<tool_call>{{ c.function.name }}({{ c.function.arguments | tojson }})</tool_call>",
        "<tool_call><name>{{ c.function.name }}</name>{{ c.function.arguments | tojson }}</tool_call>",
        '<call>{"name": "{{ c.function.name }}", "parameters": {{ c.function.arguments | tojson }}}</call>',
        '<tool_call>{"tool": "{{ c.function.name }}", "args": {{ c.function.arguments | tojson }}}</tool_call>',
        "[TOOL_CALLS]{{ c.function.name }}: {{ c.function.arguments | tojson }}",
    ],
)
def test_a_form_of_no_table_is_spelled_out(call: str) -> None:
    """A mark that is known is not enough: the model is told a form that is read."""
    source = template_of(DIALECTS[0])
    shown = source[: source.index("<|a|>") + 5] + "{% for c in m.tool_calls %}" + call + "{% endfor %}"
    made = ChatTemplate(shown + source[source.index("{% else %}") :])
    assert made.forms == ChatForms(dialect="hermes", tools="instructions", reasoning="")
    text = made.render(prompt(ASKED, tools=(TOOL,)))
    assert '<tool_call>\n{"name": "<function name>"' in text


def test_the_page_has_the_table() -> None:
    """The documents list every form of calls with a call as it is written, and every form of reasoning."""
    page = (ROOT / "docs" / "dialects.md").read_text()
    for name in TOOL_FORMATS:
        call = call_as_text(CALLS[name], "look", {"at": "Ulm"}).replace("\n", "⏎").replace("|", "\\|")
        (row,) = (line for line in page.splitlines() if line.startswith(f"| `{name}` | ") and call in line)
        assert call in row
    assert set(re.findall(r"^\| `(\w+)` \| (?:`\S|The channel)", page, re.MULTILINE)) == set(REASONING)


def test_every_form_has_a_name_for_the_option() -> None:
    """The names of the option are those of the table, and so are those of reasoning."""
    assert set(TOOL_FORMATS) == set(CALLS)
    assert {form.reasoning for form in CALLS.values()} <= {*REASONING, ""} == set(get_args(ReasoningFormat))

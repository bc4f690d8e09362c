"""Roles and their order, as a template takes them."""

from collections.abc import Sequence
from typing import Any

import pytest
from support import templates
from support.chats import ANSWER, ASKED, NOW, ORDERS, SYSTEM, called, render, result


def test_instructions_go_to_the_user_where_there_is_no_system_role() -> None:
    """Sent ones, and those that explain tools to a model whose template has none."""
    text = render(templates.NO_SYSTEM, SYSTEM, ASKED)
    assert text == "<s><start_of_turn>user\nBe brief.\n\nTime?<end_of_turn>\n<start_of_turn>model\n"
    text = render(templates.NO_SYSTEM, ASKED, tools=[NOW])
    assert text.startswith("<s><start_of_turn>user\nYou may call")
    assert text.endswith("\n\nTime?<end_of_turn>\n<start_of_turn>model\n")
    assert "<start_of_turn>user\nBe brief.\n\nYou may call" in render(
        templates.NO_SYSTEM, SYSTEM, ASKED, tools=[NOW]
    )
    assert (
        render(templates.NO_SYSTEM, SYSTEM)
        == "<s><start_of_turn>user\nBe brief.<end_of_turn>\n<start_of_turn>model\n"
    )


@pytest.mark.parametrize("messages", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("source", templates.OWN.values(), ids=templates.OWN)
@pytest.mark.parametrize("tools", [(), (NOW,)], ids=["", "tools"])
def test_any_order_of_roles_is_rendered(source: str, messages: list[Any], tools: Sequence[Any]) -> None:
    """Nothing is refused for its place, and every text is shown."""
    text = render(source, *messages, tools=tools)
    for message in messages:
        assert str(message["content"] or "") in text


def test_what_a_template_takes_stays_as_it_is() -> None:
    """Messages are joined and moved only for a template that needs it."""
    text = render(templates.PLAIN, ASKED, SYSTEM, ANSWER, ANSWER, ASKED, ASKED)
    assert [turn.split("\n")[0] for turn in text.split("<|im_start|>")[1:]] == [
        *("user", "system", "assistant", "assistant", "user", "user", "assistant")
    ]


def test_a_developer_keeps_the_role_where_the_template_has_it() -> None:
    """Elsewhere it is a system message."""
    message = {"role": "developer", "content": "Be kind."}
    assert "<|start_header_id|>developer<|end_header_id|>\n\nBe kind." in render(
        templates.ONE_CALL, message, ASKED
    )
    assert "<|im_start|>system\nBe kind." in render(templates.PLAIN, message, ASKED)


def test_a_late_result_stands_behind_its_call() -> None:
    """A template that refuses a result without a call before it gets the result there, whatever came between."""
    refuses = (
        "{%- if m.role == 'tool' and not loop.previtem.tool_calls %}{{ raise_exception('no call') }}{%- endif %}"
    )
    source = templates.TOOL_USE.replace("{%- for m in messages %}", "{%- for m in messages %}" + refuses)
    assert source != templates.TOOL_USE
    for between in ([ANSWER], [ASKED], [ANSWER, ASKED]):
        text = render(source, ASKED, called("{}"), *between, result("12:00"), tools=[NOW])
        assert text.index("<tool_call>") < text.index("12:00") < text.rindex(str(between[0]["content"]))


def test_parallel_calls_are_split_where_a_message_has_one() -> None:
    """Each call is followed by its own result, in whatever order the results came."""
    history = [
        ASKED,
        called('{"n": 1}', '{"n": 2}', content="Well."),
        result("second", "b"),
        result("first"),
        ASKED,
    ]
    text = render(templates.ONE_CALL, *history, tools=[NOW])
    order = [text.index(part) for part in ('{"n": 1}', '"first"', '{"n": 2}', '"second"')]
    assert order == sorted(order)

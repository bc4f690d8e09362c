"""Chats for tests of chat templates, and their prompts."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec

from jan.engine.base import ChatPrompt
from jan.engine.prompts.chat_template import ChatTemplate
from jan.schema.messages import Message
from jan.schema.open_body import convert_open
from jan.schema.tools import Tool

NOW = {"type": "function", "function": {"name": "now"}}
ASKED = {"role": "user", "content": "Time?"}
SYSTEM = {"role": "system", "content": "Be brief."}
ANSWER = {"role": "assistant", "content": "Noon."}
FOREIGN = "call_29d27aaa89d7dcdd7503dbfd"
IDS = (FOREIGN, "b", "c")


@cache
def template_of(source: str) -> ChatTemplate:
    """The template, tried once for all tests."""
    return ChatTemplate(source, "<s>", "</s>")


def prompt(messages: Sequence[Any], tools: Sequence[Any] = (), **options: Any) -> ChatPrompt:
    return ChatPrompt(
        messages=msgspec.convert(tuple(messages), tuple[Message, ...]),
        tools=tuple(convert_open(tool, Tool) for tool in tools),
        sent_tools=tuple(tools),
        **options,
    )


def render(source: str, *messages: Any, tools: Sequence[Any] = (), **options: Any) -> str:
    return template_of(source).render(prompt(messages, tools, **options))


def called(*arguments: str, content: str | None = None, ids: Sequence[str] = IDS) -> dict[str, Any]:
    calls = [
        {"id": call_id, "type": "function", "function": {"name": "now", "arguments": one}}
        for call_id, one in zip(ids, arguments, strict=False)
    ]
    return {"role": "assistant", "content": content, "tool_calls": calls}


def result(content: str = "12:00", call_id: str = FOREIGN) -> dict[str, Any]:
    return {"role": "tool", "content": content, "tool_call_id": call_id}


#: Orders of roles that one template or another refuses.
ORDERS = {
    "two questions": [ASKED, ASKED],
    "two answers": [ASKED, ANSWER, ANSWER, ASKED],
    "two results": [ASKED, called("{}", "{}"), result(), result(call_id="b"), ANSWER, ASKED],
    "a result and a question": [ASKED, called("{}"), result(), ASKED],
    "an answer first": [ANSWER, ASKED],
    "a system message and an answer first": [SYSTEM, ANSWER, ASKED],
    "several system messages": [SYSTEM, {"role": "developer", "content": "Be kind."}, ASKED],
    "a late system message": [ASKED, ANSWER, {**SYSTEM, "content": "Be late."}, ASKED],
    "a system message at the end": [ASKED, ANSWER, ASKED, {**SYSTEM, "content": "Be late."}],
    "calls without results": [ASKED, called("{}"), ASKED],
    "parallel calls in another order": [ASKED, called("{}", "{}"), result("B", "b"), result("A"), ASKED],
    "empty contents": [{"role": "system", "content": ""}, {"role": "user", "content": ""}],
    "only an answer": [ANSWER],
    "only a system message": [SYSTEM],
    "a result without a call": [ASKED, result()],
    "a result without a call first": [result(), ANSWER, ASKED],
    "a late result without a call": [ASKED, ANSWER, result(), ANSWER, ASKED],
}

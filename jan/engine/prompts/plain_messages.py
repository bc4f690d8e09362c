"""Messages and tools of a request as chat templates know them: dictionaries with OpenAI's names."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from jan.engine.call_ids import call_id
from jan.engine.generation_request import ChatPrompt
from jan.errors import InvalidRequest
from jan.schema.messages import (
    AssistantMessage,
    Message,
    OnlyTextPart,
    RefusalPart,
    SentFunction,
    TextPart,
    ToolMessage,
    UserPart,
)
from jan.schema.tools import Tool

Entry = dict[str, Any]
# Transformers passes reasoning on under the first two names. Some templates read the others.
REASONING_NAMES = ("reasoning_content", "thinking", "reasoning", "tool_plan")
# Members of a function that are left out where they are null, as if they were not there.
_OPTIONAL = ("description", "parameters")


def plain_messages(messages: Sequence[Message]) -> list[Entry]:
    """Return messages as dictionaries. Content is a text, or a list of the text parts that were sent.

    A call's ``arguments`` is the text that was sent. Raises InvalidRequest for a part that is not text.
    """
    return [_plain(message, f"messages[{index}].content") for index, message in enumerate(messages)]


def _plain(message: Message, where: str) -> Entry:
    role = str(message.__struct_config__.tag)
    entry: Entry = {"role": "tool" if role == "function" else role, "content": _content(message.content, where)}
    if (name := getattr(message, "name", None)) is not None:
        entry["name"] = name
    if isinstance(message, AssistantMessage):
        entry["content"] = entry["content"] or message.refusal or ""
        if (reasoning := message.reasoning_content or message.reasoning) is not None:
            entry |= dict.fromkeys(REASONING_NAMES, reasoning)
        if calls := [_plain_call(call.id, call.function) for call in message.tool_calls or ()]:
            entry["tool_calls"] = calls
        elif (function := message.function_call) is not None:
            entry["tool_calls"] = [_plain_call(call_id("call", f"{where} {function.name}"), function)]
    elif isinstance(message, ToolMessage):
        entry["tool_call_id"] = message.tool_call_id
    return entry


def _plain_call(own_id: str, function: SentFunction) -> Entry:
    called = {"name": function.name, "arguments": function.text}
    return {"id": own_id, "type": "function", "function": called}


def _content(
    content: str | Sequence[UserPart | RefusalPart | OnlyTextPart] | None, where: str
) -> str | list[dict[str, str]]:
    if content is None or isinstance(content, str):
        return content or ""
    return [{"type": "text", "text": _text_of_part(part, f"{where}[{at}]")} for at, part in enumerate(content)]


def _text_of_part(part: UserPart | RefusalPart | OnlyTextPart, where: str) -> str:
    if isinstance(part, TextPart | OnlyTextPart):
        return part.text
    if isinstance(part, RefusalPart):
        return part.refusal
    raise InvalidRequest(
        f"This model takes text only, not parts of type '{type(part).__struct_config__.tag}'.",
        code="unsupported_content",
        param=where,
    )


def text_of(content: str | Sequence[UserPart | RefusalPart | OnlyTextPart] | None, where: str) -> str:
    """Return the text of a message's content. Raises InvalidRequest for a part that is not text."""
    return plain_text(_content(content, where))


def plain_text(content: str | Sequence[Mapping[str, str]]) -> str:
    """Return the text of plain content: of a list, its parts joined."""
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def plain_tools(prompt: ChatPrompt) -> list[Entry]:
    """Return the tools as the client sent them, but without ``strict``, and each with parameters.

    ``strict`` directs the server and not the model.
    """
    sent = prompt.sent_tools if len(prompt.sent_tools) == len(prompt.tools) else ()
    return [_plain_tool(tool, dict(sent[index]) if sent else None) for index, tool in enumerate(prompt.tools)]


def _plain_tool(tool: Tool, sent: Entry | None) -> Entry:
    if sent is None or not _is_same(tool, sent):
        sent = msgspec.to_builtins(tool)
    function = {
        name: value
        for name, value in sent["function"].items()
        if name != "strict" and (value is not None or name not in _OPTIONAL)
    }
    function.setdefault("parameters", {"type": "object", "properties": {}})
    return {**sent, "function": function}


def _is_same(tool: Tool, sent: Entry) -> bool:
    """Return True unless a hook has changed the tool since it was sent."""
    known: Entry = msgspec.to_builtins(tool)
    return all(sent["function"].get(name) == value for name, value in known["function"].items())

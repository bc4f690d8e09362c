"""Messages between the store's form and the models', and the title that the first of them gives."""

from typing import Any

import msgspec

from jan.errors import InvalidRequest
from jan.schema import messages as chat
from jan.schema.explain import explain
from jan.storage.records import MessageRecord

_TITLE_LENGTH = 60
# What is stored is read again inside other objects, and must not be too deep for it there.
_DEEPEST = 100


def to_chat(message: MessageRecord) -> chat.Message:
    """A stored message as a model gets it; raises InvalidRequest for content that its role can't have."""
    fields: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls is not None:
        fields["tool_calls"] = message.tool_calls
    if message.tool_call_id is not None:
        fields["tool_call_id"] = message.tool_call_id
    try:
        found: chat.Message = msgspec.convert(fields, chat.Message)
    except msgspec.ValidationError as error:
        why = explain(error, chat.Message)
        raise _refusal(f"{why.path}: {why.message}" if why.path else why.message, why.path or None) from None
    return found


def check(message: MessageRecord) -> MessageRecord:
    """The message, if a model could get it and nothing in it would be lost; raises InvalidRequest."""
    for name in ("content", "tool_calls"):
        if _is_deep(getattr(message, name)):
            raise _refusal(f"{name}: it is nested too deeply", name)
    to_chat(message)
    if message.tool_calls is not None and message.role != "assistant":
        raise _refusal("tool_calls: only a message of the assistant's has them", "tool_calls")
    if message.tool_call_id is not None and message.role != "tool":
        raise _refusal("tool_call_id: only a tool's message has it", "tool_call_id")
    if message.content is None and not message.tool_calls:
        raise _refusal("content: only a message with tool_calls may be without", "content")
    return message


def from_chat(message: chat.Message, conversation_id: str) -> MessageRecord:
    """A message of a request as the store keeps it; raises InvalidRequest for what it does not keep."""
    if isinstance(message, chat.FunctionMessage):
        raise _refusal("messages: a conversation keeps no messages of role 'function'; use 'tool'", "messages")
    content = message.content
    calls = None
    if isinstance(message, chat.AssistantMessage):
        content = content or message.refusal
        calls = msgspec.to_builtins(message.tool_calls)
    return MessageRecord(
        conversation_id=conversation_id,
        role=message.__struct_config__.tag,  # type: ignore[arg-type]  # the tag is the role
        content=msgspec.to_builtins(content),
        tool_calls=calls,
        tool_call_id=message.tool_call_id if isinstance(message, chat.ToolMessage) else None,
    )


def says_something(message: MessageRecord) -> bool:
    """False for an answer that was cut short before its first word: no model should see it."""
    return bool(message.content or message.tool_calls)


def title_of(message: MessageRecord) -> str:
    """A title from a message's text: its beginning, cut between words; "" if it has no text."""
    if isinstance(message.content, str):
        text = message.content
    else:
        text = " ".join(str(part.get("text", "")) for part in message.content or ())
    # More than the title's length is of no use, and splitting a whole document would take its time.
    text = " ".join(text[: 20 * _TITLE_LENGTH].split())
    if len(text) <= _TITLE_LENGTH:
        return text
    beginning, _, _ = text[: _TITLE_LENGTH + 1].rpartition(" ")
    return (beginning or text[:_TITLE_LENGTH]).rstrip(".,;:!?-") + "…"


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, list | dict)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return bool(level)


def _refusal(message: str, param: str | None) -> InvalidRequest:
    return InvalidRequest(message, code="invalid_value", param=param)

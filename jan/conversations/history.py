"""Translates messages between the store's form and the models', and checks them."""

from typing import Any

import msgspec

from jan.errors import wrong_value
from jan.schema import messages as chat
from jan.schema.explain import explain
from jan.schema.open_body import convert_open
from jan.schema.stored_items import StoredResult, items_made_of
from jan.storage.records import MessageRecord

# JSON is decoded to a limited depth, and stored messages are decoded again inside other objects.
_DEEPEST = 100


def to_chat(message: MessageRecord) -> chat.Message:
    """Return a stored message as a model gets it; raises InvalidRequest for content that its role can't have."""
    fields: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls is not None:
        fields["tool_calls"] = message.tool_calls
    if message.tool_call_id is not None:
        fields["tool_call_id"] = message.tool_call_id
    if message.reasoning is not None:
        fields["reasoning_content"] = message.reasoning
    try:
        found: chat.Message = convert_open(fields, chat.Message)
    except msgspec.ValidationError as error:
        why = explain(error, chat.Message)
        raise wrong_value(f"{why.path}: {why.message}" if why.path else why.message, why.path or None) from None
    return found


def check_message(message: MessageRecord) -> MessageRecord:
    """Return the message if a model could get all of it; raises InvalidRequest."""
    for name in ("content", "tool_calls"):
        if _is_deep(getattr(message, name)):
            raise wrong_value(f"{name}: It is nested too deeply; allowed: {_DEEPEST} levels.", name)
    to_chat(message)
    if message.tool_calls is not None and message.role != "assistant":
        raise wrong_value("tool_calls: Only a message of the assistant may have them.", "tool_calls")
    if message.tool_call_id is not None and message.role != "tool":
        raise wrong_value("tool_call_id: Only a message of a tool may have it.", "tool_call_id")
    if message.content is None and not message.tool_calls:
        raise wrong_value("content: Only a message with tool_calls may be without it.", "content")
    if message.reasoning is not None and message.role != "assistant":
        raise wrong_value("reasoning_content: Only a message of the assistant may have it.", "reasoning_content")
    results = sum(isinstance(item, StoredResult) for item in message.items)
    if results != (message.role == "tool") or (results and len(message.items) > 1):
        raise wrong_value("items: The message of a tool is one result, and no other message has one.", "items")
    return message


def from_chat(message: chat.Message, conversation_id: str) -> MessageRecord:
    """Return a request's message as the store keeps it; raises InvalidRequest for a role that it does not keep."""
    if isinstance(message, chat.FunctionMessage):
        raise wrong_value("messages: A conversation keeps no messages of role 'function'. Use 'tool'.", "messages")
    content = message.content
    calls = reasoning = None
    if isinstance(message, chat.AssistantMessage):
        if message.function_call is not None:
            raise wrong_value("messages: A conversation keeps no function_call. Use tool_calls.", "messages")
        content = content or message.refusal or content
        calls = msgspec.to_builtins(message.tool_calls)
        reasoning = message.reasoning_content or message.reasoning
    return MessageRecord(
        conversation_id=conversation_id,
        role=message.__struct_config__.tag,  # type: ignore[arg-type]  # the tag is the role
        items=items_made_of(
            msgspec.to_builtins(content),
            reasoning=reasoning,
            tool_calls=calls,
            tool_call_id=message.tool_call_id if isinstance(message, chat.ToolMessage) else None,
        ),
    )


def has_content(message: MessageRecord) -> bool:
    """Tell a message with content from an answer that was cut short before its first word, and from a message
    whose content was deleted. The result of a call may be empty."""
    return bool(message.content or message.tool_calls) or (message.role == "tool" and not message.is_emptied)


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

"""Turns the items of a request for a response into the messages that a model gets."""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from handlers.openai.converted_parts import converted
from handlers.openai.responses.namespaces import joined_name
from handlers.openai.responses.sent_parts import answer_content, instructions_of, text_of, user_content
from handlers.openai.sampling import refused
from jan.auth.encrypted_texts import TextsOfOwner
from jan.schema.messages import (
    AssistantMessage,
    CustomCall,
    DeveloperMessage,
    Message,
    SentFunction,
    SentToolCall,
    SystemMessage,
    ToolMessage,
    UserMessage,
)
from jan.schema.open_body import without_unknown
from jan.schema.response_items import (
    CallOutputItem,
    CustomCallItem,
    FunctionCallItem,
    MessageItem,
    ReasoningText,
    SentCompaction,
    SentItem,
    SentReasoning,
)

_KINDS = MappingProxyType[str, type[SentItem | SentCompaction]](
    {
        "message": MessageItem,
        "function_call": FunctionCallItem,
        "custom_tool_call": CustomCallItem,
        "function_call_output": CallOutputItem,
        "custom_tool_call_output": CallOutputItem,
        "reasoning": SentReasoning,
        "compaction": SentCompaction,
    }
)
# Items of tools that OpenAI runs itself. Models here can do nothing with them.
_HOSTED = (
    "web_search_call",
    "file_search_call",
    "code_interpreter_call",
    "image_generation_call",
    "computer_call",
    "computer_call_output",
    "local_shell_call",
    "local_shell_call_output",
    "shell_call",
    "shell_call_output",
    "apply_patch_call",
    "apply_patch_call_output",
    "mcp_list_tools",
    "mcp_call",
    "mcp_approval_request",
    "mcp_approval_response",
    "tool_search_call",
    "tool_search_output",
    "additional_tools",
    "configuration_update",
    "program",
    "program_output",
)
#: The beginning of the message that a compacted conversation becomes.
SUMMARY = "Summary of the conversation so far:\n\n"


class ReadItems(msgspec.Struct, frozen=True):
    """The items of a request, and the path of each. ``ignored``: paths of what the model does not get."""

    items: tuple[SentItem, ...]
    places: tuple[str, ...]
    ignored: tuple[str, ...] = ()


def read_items(given: str | Sequence[dict[str, Any]], texts: TextsOfOwner, name: str = "input") -> ReadItems:
    """Return the items of the field ``name``. What they have of the caller's encrypted texts is decrypted; that of
    others is left out.

    Raises InvalidRequest that names the wrong one.
    """
    if isinstance(given, str):
        texts_given = (MessageItem(role="user", content=given),) if given else ()
        return ReadItems(texts_given, (f"{name}[0]",) * len(texts_given))
    items: list[SentItem] = []
    places: list[str] = []
    ignored: list[str] = []
    for index, one in enumerate(given):
        place = f"{name}[{index}]"
        kind = one.get("type", "message")
        if kind in _HOSTED:
            ignored.append(place)
            continue
        item = _decrypted(_item(one, kind, place, ignored), texts, place, ignored)
        if item is not None:
            items.append(item)
            places.append(place)
    return ReadItems(tuple(items), tuple(places), tuple(ignored))


def pieces_of(given: str | Sequence[dict[str, Any]]) -> int:
    """Return the number of items of an input and of their parts."""
    if isinstance(given, str):
        return 1
    contents = (item.get("content") for item in given)
    return sum(1 + (len(content) if isinstance(content, list) else 0) for content in contents)


def _item(given: dict[str, Any], kind: Any, place: str, ignored: list[str]) -> SentItem | SentCompaction:
    expected = _KINDS.get(kind) if isinstance(kind, str) else None
    if expected is None:
        allowed = ", ".join(_KINDS)
        raise refused(f"{place}.type", f"Unknown type '{str(kind)[:64]}'; allowed: {allowed}.")
    known, unknown = without_unknown(given, expected)
    ignored += [f"{place}.{name}" for name in unknown]
    item: SentItem | SentCompaction = converted(known, expected, place)
    return item


def _decrypted(
    item: SentItem | SentCompaction, texts: TextsOfOwner, place: str, ignored: list[str]
) -> SentItem | None:
    """Return an item with what it has for this server alone as text; None for a summary of other callers."""
    if isinstance(item, SentCompaction):
        text = texts.decrypt("compaction", item.encrypted_content)
        if text is None:
            ignored.append(place)
            return None
        return MessageItem(role="user", content=f"{SUMMARY}{text}")
    if isinstance(item, SentReasoning) and item.encrypted_content and not item.content:
        text = texts.decrypt("reasoning", item.encrypted_content)
        if text is None:
            ignored.append(f"{place}.encrypted_content")
        else:
            item.content = [ReasoningText(type="reasoning_text", text=text)]
    return item


class _Turns:
    """Joins items of the assistant that follow one another to one message, as models know it."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.places: list[str] = []
        self._answer: AssistantMessage | None = None

    def add(self, message: Message, place: str) -> None:
        self._answer = message if isinstance(message, AssistantMessage) else None
        self.messages.append(message)
        self.places.append(place)

    def answer(self, place: str, *, new: bool) -> AssistantMessage:
        """Return the message of the assistant that is being joined; with ``new``, one that has no calls yet."""
        if self._answer is None or (new and self._answer.tool_calls):
            self.add(AssistantMessage(), place)
        assert self._answer is not None  # just added
        return self._answer


def messages_of(read: ReadItems) -> tuple[list[Message], list[str]]:
    """Return the messages that a model gets, and the path of each. Raises InvalidRequest."""
    turns = _Turns()
    for place, item in zip(read.places, read.items, strict=True):
        if isinstance(item, MessageItem):
            _add_message(turns, item, place)
        elif isinstance(item, CallOutputItem):
            turns.add(ToolMessage(content=text_of(item.output, place), tool_call_id=item.call_id), place)
        elif isinstance(item, SentReasoning):
            if text := "\n".join(part.text for part in item.content or item.summary):
                turns.answer(place, new=True).reasoning_content = text
        else:
            answer = turns.answer(place, new=False)
            calls = answer.tool_calls = answer.tool_calls or []
            calls.append(_call(item))
    for message in turns.messages:
        if isinstance(message, AssistantMessage) and not message.tool_calls:
            message.content = message.content or ""  # of reasoning that nothing followed
    return turns.messages, turns.places


def _call(item: FunctionCallItem | CustomCallItem) -> SentToolCall:
    name = joined_name(item.namespace, item.name)
    if isinstance(item, CustomCallItem):
        return SentToolCall(id=item.call_id, type="custom", custom=CustomCall(name=name, input=item.input))
    return SentToolCall(id=item.call_id, function=SentFunction(name=name, arguments=item.arguments))


def _add_message(turns: _Turns, item: MessageItem, place: str) -> None:
    if item.role == "user":
        turns.add(UserMessage(content=user_content(item.content)), place)
    elif item.role == "assistant":
        answer = turns.answer(place, new=True)
        if answer.content is not None:
            turns.add(AssistantMessage(), place)
            answer = turns.answer(place, new=True)
        answer.content = answer_content(item.content, place)
    else:
        kind = SystemMessage if item.role == "system" else DeveloperMessage
        turns.add(kind(content=instructions_of(item.content, place)), place)

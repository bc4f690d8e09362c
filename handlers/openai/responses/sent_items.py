"""Turns the items of a request for a response into the messages that a model gets."""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from handlers.openai.sampling import refused
from jan.schema.explain import explain
from jan.schema.messages import (
    AssistantMessage,
    AudioPart,
    CustomCall,
    DeveloperMessage,
    FilePart,
    ImagePart,
    Message,
    OnlyTextPart,
    RefusalPart,
    SentFunction,
    SentToolCall,
    SystemMessage,
    TextPart,
    ToolMessage,
    UserMessage,
    UserPart,
)
from jan.schema.open_body import without_unknown
from jan.schema.response_items import (
    CallOutputItem,
    CustomCallItem,
    FunctionCallItem,
    InputAudio,
    InputFile,
    InputImage,
    InputPart,
    MessageItem,
    OutputRefusal,
    SentItem,
    SentReasoning,
)

_KINDS = MappingProxyType[str, type[SentItem]](
    {
        "message": MessageItem,
        "function_call": FunctionCallItem,
        "custom_tool_call": CustomCallItem,
        "function_call_output": CallOutputItem,
        "custom_tool_call_output": CallOutputItem,
        "reasoning": SentReasoning,
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
    "compaction",
)


class ReadItems(msgspec.Struct, frozen=True):
    """The items of a request. ``ignored``: paths of what the model does not get."""

    items: tuple[SentItem, ...]
    ignored: tuple[str, ...] = ()


def read_items(given: str | Sequence[dict[str, Any]], name: str = "input") -> ReadItems:
    """Return the items of the field ``name``. Raises InvalidRequest that names the wrong one."""
    if isinstance(given, str):
        return ReadItems((MessageItem(role="user", content=given),) if given else ())
    items: list[SentItem] = []
    ignored: list[str] = []
    for index, one in enumerate(given):
        place = f"{name}[{index}]"
        kind = one.get("type", "message")
        if kind in _HOSTED:
            ignored.append(place)
            continue
        items.append(_item(one, kind, place, ignored))
    return ReadItems(tuple(items), tuple(ignored))


def pieces_of(given: str | Sequence[dict[str, Any]]) -> int:
    """Return the number of items of an input and of their parts."""
    if isinstance(given, str):
        return 1
    contents = (item.get("content") for item in given)
    return sum(1 + (len(content) if isinstance(content, list) else 0) for content in contents)


def _item(given: dict[str, Any], kind: Any, place: str, ignored: list[str]) -> SentItem:
    expected = _KINDS.get(kind) if isinstance(kind, str) else None
    if expected is None:
        allowed = ", ".join(_KINDS)
        raise refused(f"{place}.type", f"Unknown type '{str(kind)[:64]}'; allowed: {allowed}.")
    known, unknown = without_unknown(given, expected)
    ignored += [f"{place}.{name}" for name in unknown]
    try:
        item = msgspec.convert(known, expected)
    except msgspec.ValidationError as error:
        why = explain(error, expected)
        raise refused(f"{place}.{why.path}" if why.path else place, why.message) from None
    if isinstance(item, SentReasoning) and item.encrypted_content and not item.content:
        ignored.append(f"{place}.encrypted_content")
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


def messages_of(items: Sequence[SentItem], name: str = "input") -> tuple[list[Message], list[str]]:
    """Return the messages that a model gets, and the place of each among the items of the field ``name``.

    Raises InvalidRequest.
    """
    turns = _Turns()
    for index, item in enumerate(items):
        place = f"{name}[{index}]"
        if isinstance(item, MessageItem):
            _add_message(turns, item, place)
        elif isinstance(item, CallOutputItem):
            turns.add(ToolMessage(content=_text(item.output, place), tool_call_id=item.call_id), place)
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
    if isinstance(item, CustomCallItem):
        return SentToolCall(id=item.call_id, type="custom", custom=CustomCall(name=item.name, input=item.input))
    return SentToolCall(id=item.call_id, function=SentFunction(name=item.name, arguments=item.arguments))


def _add_message(turns: _Turns, item: MessageItem, place: str) -> None:
    if item.role == "user":
        turns.add(UserMessage(content=_user_content(item.content)), place)
    elif item.role == "assistant":
        answer = turns.answer(place, new=True)
        if answer.content is not None:
            turns.add(AssistantMessage(), place)
            answer = turns.answer(place, new=True)
        answer.content = _answer_content(item.content, place)
    else:
        kind = SystemMessage if item.role == "system" else DeveloperMessage
        turns.add(kind(content=_instructions(item.content, place)), place)


def _user_content(content: str | list[InputPart]) -> str | list[UserPart]:
    return content if isinstance(content, str) else [_user_part(part) for part in content]


def _user_part(part: InputPart) -> UserPart:
    if isinstance(part, InputImage):
        return ImagePart(image_url={"url": part.image_url or part.file_id})
    if isinstance(part, InputFile):
        return FilePart(file={"file_id": part.file_id})
    if isinstance(part, InputAudio):
        return AudioPart(input_audio=part.input_audio)
    return TextPart(text=part.refusal if isinstance(part, OutputRefusal) else part.text)


def _answer_content(content: str | list[InputPart], place: str) -> str | list[TextPart | RefusalPart]:
    if isinstance(content, str):
        return content
    return [
        RefusalPart(refusal=part.refusal)
        if isinstance(part, OutputRefusal)
        else TextPart(text=_only_text(part, f"{place}.content[{at}]"))
        for at, part in enumerate(content)
    ]


def _instructions(content: str | list[InputPart], place: str) -> str | list[OnlyTextPart]:
    if isinstance(content, str):
        return content
    return [
        OnlyTextPart(type="text", text=_only_text(part, f"{place}.content[{at}]"))
        for at, part in enumerate(content)
    ]


def _text(content: str | list[InputPart], place: str) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(_only_text(part, f"{place}.output[{at}]") for at, part in enumerate(content))


def _only_text(part: InputPart, place: str) -> str:
    if isinstance(part, InputImage | InputFile | InputAudio):
        kind = part.__struct_config__.tag
        raise refused(place, f"A part of type '{kind}' is not allowed here; allowed: text.")
    return part.refusal if isinstance(part, OutputRefusal) else part.text

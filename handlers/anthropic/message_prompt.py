"""Turns the messages of Anthropic's form into those that a model gets."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from handlers.openai.sampling import refused
from jan.schema.anthropic import AssistantTurn, PromptOfMessages, SystemTurn, Turn, UserTurn
from jan.schema.anthropic_blocks import (
    AssistantBlock,
    CompactionBlock,
    DocumentBlock,
    HostedBlock,
    ImageBlock,
    OnlyTextBlock,
    RedactedThinkingBlock,
    SearchResultBlock,
    TextBlock,
    ThinkingBlock,
    ToolReferenceBlock,
    ToolResultBlock,
    ToolResultPart,
    ToolUseBlock,
    UserBlock,
)
from jan.schema.messages import (
    AssistantMessage,
    FilePart,
    ImagePart,
    Message,
    OnlyTextPart,
    SentFunction,
    SentToolCall,
    SystemMessage,
    TextPart,
    ToolMessage,
    UserMessage,
    UserPart,
)

Blocks = str | list[OnlyTextBlock]


class PlacedMessages(msgspec.Struct, frozen=True):
    """The messages that a model gets, and where the request has each of them.

    ``ignored``: paths of blocks that the model does not get.
    """

    messages: tuple[Message, ...]
    places: tuple[str, ...]
    ignored: tuple[str, ...]


def messages_of(body: PromptOfMessages) -> PlacedMessages:
    """Return the messages of a request. Raises InvalidRequest for what no model can read."""
    placed: list[tuple[Message, str]] = []
    ignored: list[str] = []
    if body.system:
        placed.append((SystemMessage(content=_instructions(body.system)), "system"))
    for index, turn in enumerate(body.messages):
        place = f"messages[{index}]"
        placed += [(message, place) for message in _of_turn(turn, place)]
        ignored += _unread(turn, place)
    messages, places = tuple(message for message, _ in placed), tuple(place for _, place in placed)
    return PlacedMessages(messages, places, tuple(ignored))


def _of_turn(turn: Turn, place: str) -> Iterable[Message]:
    if isinstance(turn, SystemTurn):
        return [SystemMessage(content=_instructions(turn.content))]
    if isinstance(turn, AssistantTurn):
        return [_answer(turn)]
    return _question(turn, place)


def _unread(turn: Turn, place: str) -> Iterable[str]:
    """Yield the paths of blocks that only Anthropic's servers can use."""
    blocks = turn.content if isinstance(turn.content, list) else ()
    for index, block in enumerate(blocks):
        if isinstance(block, RedactedThinkingBlock | HostedBlock):
            yield f"{place}.content[{index}]"


def _instructions(content: Blocks) -> str | list[OnlyTextPart]:
    if isinstance(content, str):
        return content
    return [OnlyTextPart(type="text", text=block.text) for block in content]


def _answer(turn: AssistantTurn) -> AssistantMessage:
    if isinstance(turn.content, str):
        return AssistantMessage(content=turn.content)
    texts = [TextPart(text=text) for block in turn.content if (text := _text_of(block)) is not None]
    thoughts = [block.thinking for block in turn.content if isinstance(block, ThinkingBlock)]
    calls = [
        SentToolCall(id=block.id, function=SentFunction(name=block.name, arguments=block.input))
        for block in turn.content
        if isinstance(block, ToolUseBlock)
    ]
    return AssistantMessage(
        content=list(texts) if texts or not calls else None,
        tool_calls=calls or None,
        reasoning_content="\n".join(thoughts) or None,
    )


def _text_of(block: AssistantBlock) -> str | None:
    if isinstance(block, TextBlock):
        return block.text
    return block.content if isinstance(block, CompactionBlock) else None


def _question(turn: UserTurn, place: str) -> list[Message]:
    """Return the messages of a turn of the user, in which results of tools and other blocks may alternate."""
    if isinstance(turn.content, str):
        return [UserMessage(content=turn.content)]
    messages: list[Message] = []
    parts: list[UserPart] = []
    for index, block in enumerate(turn.content):
        if not isinstance(block, ToolResultBlock):
            parts.append(_part(block, f"{place}.content[{index}]"))
            continue
        if parts:
            messages.append(UserMessage(content=parts))
            parts = []
        messages.append(_result(block, f"{place}.content[{index}]"))
    # A turn without any block is a message without text.
    return messages if messages and not parts else [*messages, UserMessage(content=parts)]


def _result(block: ToolResultBlock, place: str) -> ToolMessage:
    content = block.content or ""
    if not isinstance(content, str):
        parts = [_part(part, f"{place}.content[{index}]") for index, part in enumerate(content)]
        content = "\n".join(_only_text(parts, place))
    if block.is_error:
        content = f"Error: {content}"
    return ToolMessage(content=content, tool_call_id=block.tool_use_id)


def _only_text(parts: Sequence[UserPart], place: str) -> Iterable[str]:
    for index, part in enumerate(parts):
        if not isinstance(part, TextPart):
            raise refused(f"{place}.content[{index}]", "Models of this server read results of tools as text only.")
        yield part.text


def _part(block: UserBlock | ToolResultPart, place: str) -> UserPart:
    """Return a block as a part of a message. Models say themselves which parts they can't read."""
    if isinstance(block, ToolReferenceBlock):
        return TextPart(text=block.tool_name)
    if isinstance(block, TextBlock):
        return TextPart(text=block.text)
    if isinstance(block, ImageBlock):
        return ImagePart(image_url={"source": block.source})
    if isinstance(block, SearchResultBlock):
        texts = "\n".join(part.text for part in block.content)
        return TextPart(text=_marked("search_result", {"title": block.title, "source": block.source}, texts))
    if isinstance(block, DocumentBlock):
        return _document(block, place)
    raise refused(place, "A result of a tool is not allowed here.")


def _document(block: DocumentBlock, place: str) -> UserPart:
    kind, source = block.source.get("type"), block.source
    if kind == "text" and isinstance(text := source.get("data"), str):
        found = text
    elif kind == "content" and (inner := source.get("content")) is not None:
        found = _inner_text(inner, f"{place}.source.content")
    elif kind in ("base64", "url", "file"):
        return FilePart(file={"source": source})
    else:
        raise refused(f"{place}.source", "Not a source of a document; allowed: the types text and content.")
    return TextPart(text=_marked("document", {"title": block.title, "context": block.context}, found))


def _inner_text(inner: Any, place: str) -> str:
    if isinstance(inner, str):
        return inner
    try:
        return "\n".join(block.text for block in msgspec.convert(inner, list[OnlyTextBlock]))
    except msgspec.ValidationError:
        raise refused(place, "Expected a text or an array of blocks of text.") from None


def _marked(name: str, about: dict[str, str | None], text: str) -> str:
    """Return a text between marks that say what it is, as models are used to."""
    said = "".join(f" {key}={msgspec.json.encode(value).decode()}" for key, value in about.items() if value)
    return f"<{name}{said}>\n{text}\n</{name}>"

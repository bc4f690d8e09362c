"""POST /messages: the answer, whole and as events, and errors."""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from jan.schema.sampling import Tally

StopReason = Literal["end_turn", "max_tokens", "stop_sequence", "tool_use", "refusal"]


class MessagesUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Token counts of an answer. ``input_tokens`` are those of the prompt without what was read from the cache."""

    input_tokens: Tally
    output_tokens: Tally
    cache_creation_input_tokens: Tally = 0
    cache_read_input_tokens: Tally = 0
    service_tier: Literal["standard"] = "standard"


class AnsweredText(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="text"):
    """Text of the answer. It has no ``citations``: some clients refuse a null there."""

    text: str


class AnsweredThinking(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="thinking"):
    """Reasoning before the answer. ``signature``: a checksum of it."""

    thinking: str
    signature: str


class AnsweredToolUse(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="tool_use"):
    """A call of one of the request's tools."""

    id: str
    name: str
    input: dict[str, Any]


AnsweredBlock = AnsweredText | AnsweredThinking | AnsweredToolUse


class AnsweredMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer, as a message of the assistant."""

    id: str
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    model: str
    content: list[AnsweredBlock]
    stop_reason: StopReason | None
    stop_sequence: str | None
    usage: MessagesUsage


class CountedTokens(msgspec.Struct, frozen=True, kw_only=True):
    """The number of tokens of a prompt."""

    input_tokens: Tally


# --- events -----------------------------------------------------------------------------------------


class MessageStart(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="message_start"):
    """The first event: the message without content."""

    message: AnsweredMessage


class ContentBlockStart(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="content_block_start"):
    """A block begins, empty."""

    index: int
    content_block: AnsweredBlock


class TextPiece(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="text_delta"):
    """New text of a block."""

    text: str


class InputPiece(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="input_json_delta"):
    """A new piece of the JSON of a tool's input."""

    partial_json: str


class ThinkingPiece(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="thinking_delta"):
    """New reasoning of a block."""

    thinking: str


class SignaturePiece(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="signature_delta"):
    """The checksum of a block of reasoning, at its end."""

    signature: str


BlockPiece = TextPiece | InputPiece | ThinkingPiece | SignaturePiece


class ContentBlockDelta(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="content_block_delta"):
    """New content of a block."""

    index: int
    delta: BlockPiece


class ContentBlockStop(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="content_block_stop"):
    """A block is complete."""

    index: int


class MessageEnd(msgspec.Struct, frozen=True, kw_only=True):
    """Why the message ended."""

    stop_reason: StopReason
    stop_sequence: str | None


class MessageDelta(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="message_delta"):
    """The end of the content, with the counts of all tokens."""

    delta: MessageEnd
    usage: MessagesUsage


class MessageStop(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="message_stop"):
    """The last event of a complete answer."""


MessageEvent = MessageStart | ContentBlockStart | ContentBlockDelta | ContentBlockStop | MessageDelta | MessageStop

# --- errors -----------------------------------------------------------------------------------------


class MessagesError(msgspec.Struct, frozen=True, kw_only=True):
    """The error by Anthropic's type, with our ``code`` and the wrong field of the request."""

    type: str
    message: str
    code: str
    param: str | None = None


class MessagesErrorEnvelope(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="error"):
    """Body of an error, and the event that ends a stream early."""

    error: MessagesError
    request_id: str | UnsetType = UNSET

"""POST /chat/completions: the response, and the chunks of a streamed response."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from jan.schema.chat import ConversationPlace
from jan.schema.messages import CustomCall, FunctionCall
from jan.schema.sampling import FinishReason, PromptScores, ServiceTier, TokenLogprob, Usage

# function_call: of OpenAI's older form of tools.
ChatFinishReason = FinishReason | Literal["function_call"]
ReasoningContent = Annotated[str, Meta(description="The model's reasoning before its answer")]


class CalledFunction(msgspec.Struct, kw_only=True, tag_field="type", tag="function"):
    """A call of a function."""

    id: str
    function: FunctionCall


class CalledCustom(msgspec.Struct, kw_only=True, tag_field="type", tag="custom"):
    """A call of a custom tool."""

    id: str
    custom: CustomCall


ReasoningCopy = Annotated[str, Meta(description="The same as `reasoning_content`, as OpenRouter and vLLM call it")]


class AnswerMessage(msgspec.Struct, kw_only=True):
    """The message with which the assistant answers."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    reasoning_content: ReasoningContent | UnsetType = UNSET
    reasoning: ReasoningCopy | UnsetType = UNSET
    refusal: str | None = None
    tool_calls: list[CalledFunction | CalledCustom] | UnsetType = UNSET
    function_call: FunctionCall | UnsetType = UNSET


class ChoiceLogprobs(msgspec.Struct, kw_only=True):
    """Log probabilities of the tokens of one choice."""

    content: list[TokenLogprob]
    refusal: None = None


class ChatChoice(msgspec.Struct, kw_only=True):
    """One of the ``n`` answers."""

    index: int
    message: AnswerMessage
    logprobs: ChoiceLogprobs | None = None
    finish_reason: ChatFinishReason
    token_ids: list[int] | UnsetType = UNSET


class ChatCompletion(msgspec.Struct, kw_only=True):
    """The complete answer. ``created`` is in seconds since 1970."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    system_fingerprint: str | None = None
    service_tier: ServiceTier | UnsetType = UNSET
    conversation: ConversationPlace | UnsetType = UNSET
    prompt_token_ids: list[int] | UnsetType = UNSET
    prompt_logprobs: PromptScores | UnsetType = UNSET


class FunctionCallDelta(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A piece of a call. The first has the name, the others continue the arguments."""

    name: str | UnsetType = UNSET
    arguments: str | UnsetType = UNSET


class ToolCallDelta(msgspec.Struct, kw_only=True):
    """A piece of the tool call at ``index``. A call of a custom tool is one piece."""

    index: int
    id: str | UnsetType = UNSET
    type: Literal["function", "custom"] | UnsetType = UNSET
    function: FunctionCallDelta | UnsetType = UNSET
    custom: CustomCall | UnsetType = UNSET


class ChatDelta(msgspec.Struct, kw_only=True):
    """The new part of an answer."""

    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType | None = UNSET
    reasoning_content: ReasoningContent | UnsetType = UNSET
    reasoning: ReasoningCopy | UnsetType = UNSET
    refusal: str | UnsetType | None = UNSET
    tool_calls: list[ToolCallDelta] | UnsetType = UNSET
    function_call: FunctionCallDelta | UnsetType = UNSET


class ChatChunkChoice(msgspec.Struct, kw_only=True):
    """The new part of the answer at ``index``."""

    index: int
    delta: ChatDelta
    logprobs: ChoiceLogprobs | None = None
    finish_reason: ChatFinishReason | None = None
    token_ids: list[int] | UnsetType = UNSET


class ChunkBlock(msgspec.Struct, frozen=True, kw_only=True):
    """A block of a choice's text as HTML, new or in place of the one with its number."""

    choice: int
    index: int
    html: str
    end: int


class ChatCompletionChunk(msgspec.Struct, kw_only=True):
    """One event of a streamed answer. Only the first event has ``conversation``."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChatChunkChoice]
    usage: Usage | UnsetType | None = UNSET
    system_fingerprint: str | None = None
    service_tier: ServiceTier | UnsetType = UNSET
    conversation: ConversationPlace | UnsetType = UNSET
    prompt_token_ids: list[int] | UnsetType = UNSET
    block: ChunkBlock | UnsetType = UNSET

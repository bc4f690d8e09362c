"""POST /chat/completions: request, response, and the chunks of a streamed response."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from jan.schema.messages import Message, ToolCall
from jan.schema.sampling import FinishReason, SamplingFields, ServiceTier, TokenCount, TokenLogprob, Usage

# --- tools and formats ------------------------------------------------------------------------------

# Python's $ also matches before a line break at the end, hence the look ahead.
FunctionName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}(?!\n)$")]


# Deeper than any schema that makes sense, and far from where Python's own recursion ends.
_MAX_SCHEMA_DEPTH = 100


def _check_depth(schema: Any) -> None:
    """Raises ValueError, which msgspec turns into a validation error with the path."""
    level = [schema]
    for _ in range(_MAX_SCHEMA_DEPTH):
        containers = [item for item in level if isinstance(item, dict | list)]
        level = [i for item in containers for i in (item.values() if isinstance(item, dict) else item)]
        if not level:
            return
    raise ValueError(f"Schema is nested more than {_MAX_SCHEMA_DEPTH} levels deep")


class FunctionDefinition(msgspec.Struct, kw_only=True):
    """A function the model may call; ``parameters`` is a JSON schema."""

    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None

    def __post_init__(self) -> None:
        _check_depth(self.parameters)


class Tool(msgspec.Struct, kw_only=True):
    """A tool the model may call."""

    type: Literal["function"]
    function: FunctionDefinition


class ChosenFunction(msgspec.Struct, kw_only=True):
    """The name of a function."""

    name: str


class NamedToolChoice(msgspec.Struct, kw_only=True):
    """This one tool must be called."""

    type: Literal["function"]
    function: ChosenFunction


class TextFormat(msgspec.Struct, kw_only=True, tag_field="type", tag="text"):
    """Free text."""


class JsonObjectFormat(msgspec.Struct, kw_only=True, tag_field="type", tag="json_object"):
    """Any JSON object."""


class JsonSchema(msgspec.Struct, kw_only=True):
    """A named JSON schema."""

    name: FunctionName
    schema: dict[str, Any] = {}
    description: str | None = None
    strict: bool | None = None

    def __post_init__(self) -> None:
        _check_depth(self.schema)


class JsonSchemaFormat(msgspec.Struct, kw_only=True, tag_field="type", tag="json_schema"):
    """JSON that the schema accepts."""

    json_schema: JsonSchema


ResponseFormat = TextFormat | JsonObjectFormat | JsonSchemaFormat

# --- vLLM's fields: other formats, and the end of the prompt -----------------------------------------

GuidedText = Annotated[str, Meta(min_length=1, max_length=10_000)]
GuidedChoice = Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(min_length=1, max_length=1000)]
GuidedSchema = dict[str, Any]


class StructuredOutputs(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What the answer must look like; one of these. ``grammar`` is in llguidance's form of Lark."""

    json: GuidedSchema | None = None
    regex: GuidedText | None = None
    choice: GuidedChoice | None = None
    grammar: GuidedText | None = None

    def __post_init__(self) -> None:
        _check_depth(self.json)


AddGenerationPrompt = Annotated[
    bool, Meta(description="Whether the prompt ends with what begins an answer; default true")
]
ContinueFinalMessage = Annotated[
    bool,
    Meta(
        description="Go on with the last message, an assistant's, instead of answering anew: the answer is what "
        "follows it"
    ),
]

# --- our own fields: a conversation that the server keeps --------------------------------------------

MessageId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{16,64}(?!\n)$")]
ConversationId = Annotated[
    str,
    Meta(
        description="Talk in this stored conversation: its messages come before those of the request, which are "
        "appended to it, as is the answer"
    ),
]
ParentMessageId = Annotated[
    str,
    Meta(
        description="The stored message to go on from; with no `messages`, the one to answer again. Left out, the "
        "conversation's last one; null begins at its root"
    ),
]
NewMessageId = Annotated[
    MessageId,
    Meta(
        description="Identifier, such as a UUID, for the last of `messages`: sent again, they are not stored again"
    ),
]


OnDisconnect = Annotated[
    Literal["cancel", "finish"],
    Meta(
        description="What becomes of the answer when its client leaves: `cancel` (also null) ends it, `finish` "
        "goes on, and GET /chat/completions/{id}/events resumes it until a minute after it ended"
    ),
]


class ConversationPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where the answer is kept: as ``message_id``, below ``parent_message_id``."""

    id: str
    message_id: str
    parent_message_id: str


# --- request ----------------------------------------------------------------------------------------


class ChatCompletionRequest(SamplingFields, kw_only=True):
    """Body of a chat completion request."""

    model: str
    messages: Annotated[list[Message], Meta(max_length=4096, description="At least one, but in a conversation")]
    max_tokens: TokenCount | None = None
    max_completion_tokens: TokenCount | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[list[Tool], Meta(max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedToolChoice | None = None
    parallel_tool_calls: bool | None = None
    metadata: dict[str, str] | None = None
    conversation_id: ConversationId | None = None
    parent_message_id: ParentMessageId | UnsetType | None = UNSET
    message_id: NewMessageId | None = None
    on_disconnect: OnDisconnect | None = None
    add_generation_prompt: AddGenerationPrompt | None = None
    continue_final_message: ContinueFinalMessage | None = None
    structured_outputs: StructuredOutputs | None = None
    guided_json: GuidedSchema | None = None
    guided_regex: GuidedText | None = None
    guided_choice: GuidedChoice | None = None
    guided_grammar: GuidedText | None = None

    def __post_init__(self) -> None:
        _check_depth(self.guided_json)


# --- response ---------------------------------------------------------------------------------------

ReasoningContent = Annotated[str, Meta(description="What the model thought before it answered")]


class AnswerMessage(msgspec.Struct, kw_only=True):
    """The assistant's answer."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    reasoning_content: ReasoningContent | UnsetType = UNSET
    refusal: str | None = None
    tool_calls: list[ToolCall] | UnsetType = UNSET


class ChoiceLogprobs(msgspec.Struct, kw_only=True):
    """Log probabilities of the tokens of one choice."""

    content: list[TokenLogprob]
    refusal: None = None


class ChatChoice(msgspec.Struct, kw_only=True):
    """One answer."""

    index: int
    message: AnswerMessage
    logprobs: ChoiceLogprobs | None = None
    finish_reason: FinishReason


class ChatCompletion(msgspec.Struct, kw_only=True):
    """The whole answer; ``created`` in seconds since the epoch."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    system_fingerprint: str | None = None
    service_tier: ServiceTier | UnsetType = UNSET
    conversation: ConversationPlace | UnsetType = UNSET


class FunctionCallDelta(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A piece of a call: the name first, then fragments of the arguments."""

    name: str | UnsetType = UNSET
    arguments: str | UnsetType = UNSET


class ToolCallDelta(msgspec.Struct, kw_only=True):
    """A piece of the tool call at ``index``."""

    index: int
    id: str | UnsetType = UNSET
    type: Literal["function"] | UnsetType = UNSET
    function: FunctionCallDelta


class ChatDelta(msgspec.Struct, kw_only=True):
    """What is new in an answer."""

    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType | None = UNSET
    reasoning_content: ReasoningContent | UnsetType = UNSET
    refusal: str | UnsetType | None = UNSET
    tool_calls: list[ToolCallDelta] | UnsetType = UNSET


class ChatChunkChoice(msgspec.Struct, kw_only=True):
    """What is new in the answer at ``index``."""

    index: int
    delta: ChatDelta
    logprobs: ChoiceLogprobs | None = None
    finish_reason: FinishReason | None = None


class ChatCompletionChunk(msgspec.Struct, kw_only=True):
    """One event of a streamed answer; ``conversation`` is in the first one."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChatChunkChoice]
    usage: Usage | UnsetType | None = UNSET
    system_fingerprint: str | None = None
    service_tier: ServiceTier | UnsetType = UNSET
    conversation: ConversationPlace | UnsetType = UNSET

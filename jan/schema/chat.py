"""POST /chat/completions: request, response, and the chunks of a streamed response."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from jan.schema.messages import Message, ToolCall
from jan.schema.open_body import OpenStruct
from jan.schema.sampling import FinishReason, SamplingFields, ServiceTier, TokenLimit, TokenLogprob, Usage

# --- tools and formats ------------------------------------------------------------------------------

# In Python, $ also matches before a final line break, hence the lookahead.
FunctionName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}(?!\n)$")]


# Deeper than any sensible schema, and far below Python's recursion limit.
_MAX_SCHEMA_DEPTH = 100


def _check_depth(schema: Any) -> None:
    """Check the depth of a JSON schema. Raises ValueError, which msgspec turns into an error with its path."""
    level = [schema]
    for _ in range(_MAX_SCHEMA_DEPTH):
        containers = [item for item in level if isinstance(item, dict | list)]
        level = [i for item in containers for i in (item.values() if isinstance(item, dict) else item)]
        if not level:
            return
    raise ValueError(f"The schema is nested too deeply; allowed: {_MAX_SCHEMA_DEPTH} levels.")


class FunctionDefinition(OpenStruct, kw_only=True):
    """A function that the model may call. ``parameters`` is a JSON schema."""

    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None

    def __post_init__(self) -> None:
        _check_depth(self.parameters)


class Tool(OpenStruct, kw_only=True):
    """A tool that the model may call."""

    type: Literal["function"]
    function: FunctionDefinition


class ChosenFunction(OpenStruct, kw_only=True):
    """The name of the chosen function."""

    name: str


class NamedToolChoice(OpenStruct, kw_only=True):
    """A tool that the model must call."""

    type: Literal["function"]
    function: ChosenFunction


class TextFormat(OpenStruct, kw_only=True, tag_field="type", tag="text"):
    """Free text, without any constraint."""


class JsonObjectFormat(OpenStruct, kw_only=True, tag_field="type", tag="json_object"):
    """Any valid JSON object."""


class JsonSchema(OpenStruct, kw_only=True):
    """A JSON schema with a name."""

    name: FunctionName
    schema: dict[str, Any] = msgspec.field(default_factory=dict)
    description: str | None = None
    strict: bool | None = None

    def __post_init__(self) -> None:
        _check_depth(self.schema)


class JsonSchemaFormat(OpenStruct, kw_only=True, tag_field="type", tag="json_schema"):
    """JSON that is valid against the schema."""

    json_schema: JsonSchema


ResponseFormat = TextFormat | JsonObjectFormat | JsonSchemaFormat

# --- vLLM's fields: other formats, and the end of the prompt -----------------------------------------

GuidedText = Annotated[str, Meta(min_length=1, max_length=10_000)]
GuidedChoice = Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(min_length=1, max_length=1000)]
GuidedSchema = dict[str, Any]


class StructuredOutputs(OpenStruct, kw_only=True, omit_defaults=True):
    """A format that the answer must have. Exactly one field is set. ``grammar`` is a Lark grammar in llguidance's
    dialect."""

    json: GuidedSchema | None = None
    regex: GuidedText | None = None
    choice: GuidedChoice | None = None
    grammar: GuidedText | None = None

    def __post_init__(self) -> None:
        _check_depth(self.json)


AddGenerationPrompt = Annotated[
    bool, Meta(description="End the prompt with the opening of an assistant message; default true")
]
ContinueFinalMessage = Annotated[
    bool,
    Meta(
        description="Continue the last message, which must be an assistant's. The answer is the text that "
        "follows it."
    ),
]

# --- our own fields: a conversation that the server keeps --------------------------------------------

MessageId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{16,64}(?!\n)$")]
ConversationId = Annotated[
    str,
    Meta(
        description="Continue this stored conversation. Its messages precede those of the request, which are "
        "appended to it together with the answer."
    ),
]
ParentMessageId = Annotated[
    str,
    Meta(
        description="The stored message to continue from or, without `messages`, to answer again. Default: the "
        "conversation's last message. null begins a new tree."
    ),
]
NewMessageId = Annotated[
    MessageId,
    Meta(
        description="Your own id, such as a UUID, for the last of `messages`. A repeated id stores nothing twice."
    ),
]


OnDisconnect = Annotated[
    Literal["cancel", "finish"],
    Meta(
        description="If the client disconnects: `cancel` (default) ends the answer, `finish` completes "
        "it, and GET /chat/completions/{id}/events resumes the stream until a minute after its end."
    ),
]


class ConversationPlace(msgspec.Struct, frozen=True, kw_only=True):
    """The place where the answer is stored: as ``message_id``, below ``parent_message_id``."""

    id: str
    message_id: str
    parent_message_id: str


# --- request ----------------------------------------------------------------------------------------


class ChatCompletionRequest(SamplingFields, kw_only=True):
    """Body of a chat completion request."""

    model: str
    messages: Annotated[
        list[Message], Meta(max_length=4096, description="Required, except in a stored conversation")
    ]
    max_tokens: TokenLimit | None = None
    max_completion_tokens: TokenLimit | None = None
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

ReasoningContent = Annotated[str, Meta(description="The model's reasoning before its answer")]


class AnswerMessage(msgspec.Struct, kw_only=True):
    """The message with which the assistant answers."""

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
    """One of the ``n`` answers."""

    index: int
    message: AnswerMessage
    logprobs: ChoiceLogprobs | None = None
    finish_reason: FinishReason


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


class FunctionCallDelta(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A piece of a call. The first has the name, the others continue the arguments."""

    name: str | UnsetType = UNSET
    arguments: str | UnsetType = UNSET


class ToolCallDelta(msgspec.Struct, kw_only=True):
    """A piece of the tool call at ``index``."""

    index: int
    id: str | UnsetType = UNSET
    type: Literal["function"] | UnsetType = UNSET
    function: FunctionCallDelta


class ChatDelta(msgspec.Struct, kw_only=True):
    """The new part of an answer."""

    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType | None = UNSET
    reasoning_content: ReasoningContent | UnsetType = UNSET
    refusal: str | UnsetType | None = UNSET
    tool_calls: list[ToolCallDelta] | UnsetType = UNSET


class ChatChunkChoice(msgspec.Struct, kw_only=True):
    """The new part of the answer at ``index``."""

    index: int
    delta: ChatDelta
    logprobs: ChoiceLogprobs | None = None
    finish_reason: FinishReason | None = None


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

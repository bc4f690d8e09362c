"""POST /responses: the request and the answer, as in https://platform.openai.com/docs/api-reference/responses."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from jan.schema.chat import Metadata, NewMessageId, ParentMessageId
from jan.schema.open_body import OpenStruct, Unserved
from jan.schema.output_formats import JsonObjectFormat, TextFormat, check_depth
from jan.schema.parameters import ModelOfRequest, RequestedTier
from jan.schema.response_items import OutputItem
from jan.schema.sampling import Tally

StoredId = Annotated[str, Meta(min_length=1)]

# --- request ----------------------------------------------------------------------------------------


class ReasoningOptions(OpenStruct, kw_only=True):
    """How much the model reasons, if its chat template has this switch. There are no summaries."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    summary: str | None = None
    generate_summary: str | None = None


class SchemaFormat(OpenStruct, kw_only=True, tag_field="type", tag="json_schema"):
    """JSON that is valid against a schema."""

    schema: dict[str, Any]
    name: str | None = None
    description: str | None = None
    strict: bool | None = None

    def __post_init__(self) -> None:
        check_depth(self.schema)


class TextOptions(OpenStruct, kw_only=True):
    """The form of the answer's text."""

    format: TextFormat | JsonObjectFormat | SchemaFormat | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class ConversationOption(OpenStruct, kw_only=True):
    """A stored conversation by its id."""

    id: StoredId


PreviousResponse = Annotated[StoredId, Meta(description="The stored response that this one follows")]
NamedConversation = Annotated[
    StoredId | ConversationOption, Meta(description="The stored conversation that this one continues")
]


class ResponseStreamOptions(OpenStruct, kw_only=True):
    """Options of a stream. Deltas are never padded."""

    include_obfuscation: bool | None = None
    include_html: Annotated[bool, Meta(description="Finished blocks of the answer as HTML")] | None = None


class PromptOfResponse(OpenStruct, kw_only=True):
    """The part of a request that makes its prompt; the body of a request that counts its tokens."""

    unserved: ClassVar[Mapping[str, Unserved]] = MappingProxyType(
        {
            "prompt": Unserved(whose="OpenAI", reason="There are no stored prompts. Send input and instructions."),
            "context_management": Unserved(whose="OpenAI", reason="Nothing is compacted without being asked."),
        }
    )

    model: ModelOfRequest
    input: Annotated[
        str | list[dict[str, Any]], Meta(description="A text, or messages, calls, results and reasoning")
    ] = ""
    instructions: Annotated[str, Meta(description="Instructions to the model, for this answer only")] | None = None
    previous_response_id: PreviousResponse | None = None
    conversation: NamedConversation | None = None
    tools: Annotated[list[dict[str, Any]], Meta(max_length=256)] | None = None
    tool_choice: Literal["none", "auto", "required"] | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    reasoning: ReasoningOptions | None = None
    text: TextOptions | None = None
    parent_message_id: ParentMessageId | UnsetType | None = UNSET
    truncation: (
        Annotated[
            Literal["auto", "disabled"],
            Meta(description="auto: leave out the oldest items if the prompt is too long; default disabled"),
        ]
        | None
    ) = None

    def __post_init__(self) -> None:
        if isinstance(self.input, list):
            check_depth({"input": self.input})
        if self.tools is not None:
            check_depth({"tools": self.tools})


class ResponseRequest(PromptOfResponse, kw_only=True):
    """Body of a request for a response."""

    max_output_tokens: Annotated[int, Meta(ge=1, le=10_000_000)] | None = None
    max_tool_calls: Annotated[int, Meta(ge=1)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    include: (
        Annotated[
            list[str],
            Meta(
                description="reasoning.encrypted_content: reasoning that the client can send back later. "
                "message.output_text.logprobs. Others have no effect"
            ),
        ]
        | None
    ) = None
    keeps: Annotated[bool, Meta(description="Keep the response; default true for users")] | None = msgspec.field(
        default=None, name="store"
    )
    stream: bool | None = None
    stream_options: ResponseStreamOptions | None = None
    background: Annotated[bool, Meta(description="Answer at once, and go on without the client")] | None = None
    metadata: Metadata | None = None
    message_id: NewMessageId | None = None
    top_k: Annotated[int, Meta(ge=-1, le=1_000_000)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    repeat_penalty: Annotated[float, Meta(gt=0, le=10)] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    user: Annotated[str, Meta(max_length=512)] | None = None
    safety_identifier: Annotated[str, Meta(max_length=512)] | None = None
    prompt_cache_key: Annotated[str, Meta(max_length=512)] | None = None
    prompt_cache_retention: str | None = None
    service_tier: RequestedTier | None = None


# --- answer -----------------------------------------------------------------------------------------

ResponseStatus = Literal["completed", "incomplete", "in_progress", "failed", "cancelled", "queued"]


class InputDetails(msgspec.Struct, frozen=True, kw_only=True):
    """Details on the tokens of the prompt. ``cache_write_tokens`` is always 0: writing costs nothing here."""

    cached_tokens: Tally = 0
    cache_write_tokens: Tally = 0


class OutputDetails(msgspec.Struct, frozen=True, kw_only=True):
    """Details on the tokens of the answer."""

    reasoning_tokens: Tally = 0


class ResponseUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Token counts of a response."""

    input_tokens: Tally
    input_tokens_details: InputDetails = InputDetails()
    output_tokens: Tally
    output_tokens_details: OutputDetails = OutputDetails()
    total_tokens: Tally


# Why a response failed: of the codes that OpenAI's SDKs know, those that can happen here.
FailureCode = Literal["server_error", "rate_limit_exceeded", "invalid_prompt"]


class ResponseError(msgspec.Struct, frozen=True, kw_only=True):
    """The error that ended a response."""

    code: FailureCode = "server_error"
    message: str


class Incompleteness(msgspec.Struct, frozen=True, kw_only=True):
    """The reason why a response is incomplete."""

    reason: Literal["max_output_tokens", "content_filter"]


class Response(msgspec.Struct, kw_only=True):
    """A response: what was asked for, and the output."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    completed_at: int | None = None
    status: ResponseStatus
    background: bool = False
    error: ResponseError | None = None
    incomplete_details: Incompleteness | None = None
    instructions: str | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    model: str
    output: list[OutputItem] = []
    parallel_tool_calls: bool = True
    previous_response_id: str | None = None
    conversation: dict[str, str] | None = None
    prompt_cache_key: str | None = None
    reasoning: dict[str, str | None]
    safety_identifier: str | None = None
    service_tier: str = "default"
    kept: bool = msgspec.field(default=False, name="store")
    temperature: float = 1.0
    text: dict[str, Any]
    tool_choice: str | dict[str, Any] = "auto"
    tools: list[dict[str, Any]] = []
    top_logprobs: int = 0
    top_p: float = 1.0
    truncation: Literal["auto", "disabled"] = "disabled"
    usage: ResponseUsage | None = None
    user: str | None = None
    metadata: dict[str, str] = {}


class DeletedResponse(msgspec.Struct, frozen=True, kw_only=True):
    """Confirmation that a response was deleted."""

    id: str
    object: Literal["response"] = "response"
    deleted: bool = True


class InputItems(msgspec.Struct, frozen=True, kw_only=True):
    """Items of a response's input. ``first_id``, ``last_id``: null if there are none."""

    object: Literal["list"] = "list"
    data: list[dict[str, Any]]
    has_more: bool
    first_id: str | None
    last_id: str | None


class StoredQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Query parameters of a stored response."""

    stream: Annotated[bool, Meta(description="As a stream of events; only of background responses")] = False
    starting_after: Annotated[int, Meta(ge=0, description="Only events after this number")] | None = None
    include_html: Annotated[bool, Meta(description="With the finished blocks as HTML")] | None = None


class ItemsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Query parameters of a list of items."""

    limit: Annotated[int, Meta(ge=1, le=100, description="Most items; default 20")] | None = None
    order: Annotated[Literal["asc", "desc"], Meta(description="desc: newest first, the default")] | None = None
    after: Annotated[str, Meta(description="Only items after this one")] | None = None


class CountedInput(msgspec.Struct, frozen=True, kw_only=True):
    """The number of tokens of a prompt."""

    object: Literal["response.input_tokens"] = "response.input_tokens"
    input_tokens: Tally

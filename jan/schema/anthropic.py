"""POST /messages: the request, as in https://docs.anthropic.com/en/api/messages."""

from typing import Annotated, Any, Literal

from msgspec import Meta

from jan.schema.anthropic_blocks import AssistantBlock, CacheControl, OnlyTextBlock, UserBlock
from jan.schema.open_body import OpenStruct
from jan.schema.output_formats import check_depth
from jan.schema.parameters import ModelOfRequest, StopString

# --- messages --------------------------------------------------------------------------------------


class UserTurn(OpenStruct, kw_only=True, tag_field="role", tag="user"):
    """A message of the user, with results of tools."""

    content: str | list[UserBlock]


class AssistantTurn(OpenStruct, kw_only=True, tag_field="role", tag="assistant"):
    """An earlier answer. The answer to a request continues it if it is the last message."""

    content: str | list[AssistantBlock]


class SystemTurn(OpenStruct, kw_only=True, tag_field="role", tag="system"):
    """Instructions within the conversation."""

    content: str | list[OnlyTextBlock]


Turn = UserTurn | AssistantTurn | SystemTurn

# --- tools ------------------------------------------------------------------------------------------


class ToolOfMessages(OpenStruct, kw_only=True):
    """A tool that the client runs: of no type, or of the type `custom`. Tools of other types are left out."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,128}(?!\n)$")]
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None
    cache_control: CacheControl | None = None

    def __post_init__(self) -> None:
        check_depth(self.input_schema)


class ToolChoiceOfMessages(OpenStruct, kw_only=True):
    """Which tools the answer calls: any or none, at least one, the named one, or none."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


# --- request ----------------------------------------------------------------------------------------


class Thinking(OpenStruct, kw_only=True):
    """A switch for reasoning before the answer, if the model's chat template has it."""

    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: Annotated[int, Meta(ge=0)] | None = None


class JsonSchemaOfMessages(OpenStruct, kw_only=True):
    """JSON that is valid against the schema."""

    type: Literal["json_schema"]
    schema: dict[str, Any]

    def __post_init__(self) -> None:
        check_depth(self.schema)


class OutputConfig(OpenStruct, kw_only=True):
    """How much the model reasons, and the form of the answer."""

    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: JsonSchemaOfMessages | None = None


class MessagesMetadata(OpenStruct, kw_only=True):
    """Notes of the client; they change no answer."""

    user_id: Annotated[str, Meta(max_length=512)] | None = None


class PromptOfMessages(OpenStruct, kw_only=True):
    """Body of a request that counts the tokens of a prompt."""

    model: ModelOfRequest
    messages: Annotated[list[Turn], Meta(min_length=1, max_length=4096)]
    system: str | list[OnlyTextBlock] | None = None
    tools: Annotated[list[ToolOfMessages], Meta(max_length=128)] | None = None
    tool_choice: ToolChoiceOfMessages | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output_format: JsonSchemaOfMessages | None = None
    cache_control: CacheControl | None = None


class MessagesRequest(PromptOfMessages, kw_only=True):
    """Body of a request to Anthropic's Messages API."""

    max_tokens: Annotated[
        int,
        Meta(ge=1, le=10_000_000, description="Most tokens of the answer; the context may have room for fewer"),
    ]
    stop_sequences: Annotated[list[StopString], Meta(max_length=16)] | None = None
    stream: bool | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_k: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    metadata: MessagesMetadata | None = None
    service_tier: Literal["auto", "standard_only"] | None = None

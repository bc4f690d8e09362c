"""POST /chat/completions: the request."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from jan.schema.messages import Message
from jan.schema.open_body import Unserved
from jan.schema.output_formats import check_depth
from jan.schema.parameters import ModelOfRequest, SamplingFields
from jan.schema.sampler_parameters import of
from jan.schema.tools import ChosenFunction, FunctionDefinition, RequestedTool, ToolChoice
from jan.schema.tools import Tool as Tool  # also found here
from jan.schema.unserved import UNSERVED_IN_CHAT

# --- the end of the prompt ---------------------------------------------------------------------------

AddGenerationPrompt = Annotated[
    bool,
    Meta(
        description="End the prompt with the opening of an assistant message; default true",
        extra=of("vLLM", "TabbyAPI"),
    ),
]
ContinueFinalMessage = Annotated[
    bool,
    Meta(
        description="Continue the last message, which must be an assistant's. The answer is the text that "
        "follows it.",
        extra=of("vLLM", "SGLang", "llama-server", "TabbyAPI"),
    ),
]

ReasoningEffort = Annotated[
    Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"],
    Meta(description="How much the model reasons, if its chat template has this switch"),
]
EnableThinking = Annotated[
    bool,
    Meta(
        description="A switch of the chat template: reason before the answer", extra=of("llama-server", "TabbyAPI")
    ),
]
Documents = Annotated[
    list[dict[str, Any]],
    Meta(
        max_length=1024,
        description="Texts for a chat template that shows documents, with `title` and `text`",
        extra=of("vLLM"),
    ),
]
TemplateOptions = Annotated[
    dict[str, Any],
    Meta(
        description="Variables of the chat template by name. One that it lacks is refused.",
        extra=of("vLLM", "SGLang", "llama-server", "TabbyAPI"),
    ),
]

# --- notes of the client ------------------------------------------------------------------------------

MetadataKey = Annotated[str, Meta(min_length=1, max_length=64)]
MetadataValue = Annotated[str, Meta(max_length=512)]
Metadata = Annotated[
    dict[MetadataKey, MetadataValue],
    Meta(
        max_length=16,
        description="Notes of yours, which change no answer: up to 16 keys of 64 characters, values of 512",
    ),
]

# --- our own fields: a conversation that the server keeps --------------------------------------------

MessageId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{16,64}(?!\n)$")]
ConversationId = Annotated[
    str,
    Meta(
        description="Continue this stored conversation. Its messages precede those of the request, which are "
        "appended to it together with the answer.",
        extra=of("Jan Server"),
    ),
]
ParentMessageId = Annotated[
    str,
    Meta(
        description="The stored message to continue from or, without `messages`, to answer again. Default: the "
        "conversation's last message. null begins a new tree.",
        extra=of("Jan Server"),
    ),
]
NewMessageId = Annotated[
    MessageId,
    Meta(
        description="Your own id, such as a UUID, for the last of `messages`. A repeated id stores nothing twice.",
        extra=of("Jan Server"),
    ),
]


OnDisconnect = Annotated[
    Literal["cancel", "finish"],
    Meta(
        description="If the client disconnects: `cancel` (default) ends the answer, `finish` completes "
        "it, and GET /chat/completions/{id}/events resumes the stream until a minute after its end.",
        extra=of("Jan Server"),
    ),
]


class ConversationPlace(msgspec.Struct, frozen=True, kw_only=True):
    """The place where the answer is stored: as ``message_id``, below ``parent_message_id``."""

    id: str
    message_id: str
    parent_message_id: str


# Tokens are counted in the model's own vocabulary everywhere.
AnswerLimit = Annotated[
    int,
    Meta(
        ge=-1, le=10_000_000, description="Most tokens of the answer; -1 and default: as many as fit the context"
    ),
]


class _WrittenTools(msgspec.Struct):
    """The tools of a request's body, with all their members."""

    tools: list[dict[str, Any]]


# --- request ----------------------------------------------------------------------------------------


class ChatCompletionRequest(SamplingFields, kw_only=True):
    """Body of a chat completion request."""

    unserved: ClassVar[Mapping[str, Unserved]] = UNSERVED_IN_CHAT

    model: ModelOfRequest
    messages: Annotated[
        list[Message], Meta(max_length=4096, description="Required, except in a stored conversation")
    ]
    max_tokens: AnswerLimit | None = None
    max_completion_tokens: (
        Annotated[AnswerLimit, Meta(description="The same as max_tokens; takes precedence")] | None
    ) = None
    logprobs: Annotated[bool, Meta(description="Report the log probability of each token")] | None = None
    top_logprobs: (
        Annotated[int, Meta(ge=0, le=20, description="Number of likeliest tokens to report beside each token")]
        | None
    ) = None
    include_reasoning: (
        Annotated[
            bool, Meta(description="false: leave reasoning out of the answer; default true", extra=of("vLLM"))
        ]
        | None
    ) = None
    separate_reasoning: (
        Annotated[
            bool,
            Meta(description="false: leave reasoning in the content, as the model wrote it", extra=of("SGLang")),
        ]
        | None
    ) = None
    tools: (
        Annotated[list[RequestedTool], Meta(max_length=128, description="Functions and custom tools")] | None
    ) = None
    tool_choice: (
        Annotated[ToolChoice, Meta(description="any is required; allowed_tools are a part of the tools")] | None
    ) = None
    functions: (
        Annotated[list[FunctionDefinition], Meta(max_length=128, description="The older form of tools")] | None
    ) = None
    function_call: (
        Annotated[Literal["none", "auto"] | ChosenFunction, Meta(description="The older form of tool_choice")]
        | None
    ) = None
    parallel_tool_calls: (
        Annotated[bool, Meta(description="Allow several calls in one answer; default true")] | None
    ) = None
    metadata: Metadata | None = None
    keeps: Annotated[bool, Meta(description="Keep the completion with its question; default false")] | None = (
        msgspec.field(default=None, name="store")
    )
    conversation_id: ConversationId | None = None
    parent_message_id: ParentMessageId | UnsetType | None = UNSET
    message_id: NewMessageId | None = None
    on_disconnect: OnDisconnect | None = None
    add_generation_prompt: AddGenerationPrompt | None = None
    continue_final_message: ContinueFinalMessage | None = None
    chat_template_kwargs: TemplateOptions | None = None
    enable_thinking: EnableThinking | None = None
    reasoning_effort: ReasoningEffort | None = None
    documents: Documents | None = None

    def __post_init__(self) -> None:
        SamplingFields.__post_init__(self)
        if self.chat_template_kwargs is not None:
            check_depth(self.chat_template_kwargs)
        if self.documents is not None:
            check_depth(self.documents)

    def keep_sent(self, body: bytes | bytearray) -> None:
        """Keep the tools as the client wrote them, for the model's chat template."""
        if self.tools:
            written = msgspec.json.decode(body, type=_WrittenTools).tools
            for tool, one in zip(self.tools, written, strict=True):
                tool.keep_written(one)

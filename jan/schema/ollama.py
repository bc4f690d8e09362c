"""Ollama's API: requests and answers, as in https://github.com/ollama/ollama/blob/main/docs/api.md."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from jan.schema.open_body import OpenStruct
from jan.schema.output_formats import check_depth
from jan.schema.parameters import Stop
from jan.schema.sampling import Tally, TokenLogprob

# --- requests ---------------------------------------------------------------------------------------

ModelName = Annotated[str, Meta(description="The id of a model, or an alias; `:latest` may follow it")]
KeepAlive = Annotated[str | int | float, Meta(description="Models stay loaded as configured")]
Think = bool | Literal["low", "medium", "high"]


class OllamaOptions(OpenStruct, kw_only=True):
    """Options of sampling. Those of loading, such as `num_ctx`, are set in the configuration."""

    num_predict: Annotated[int, Meta(ge=-2, le=10_000_000)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=-1, le=1_000_000)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    typical_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: Stop | None = None
    repeat_penalty: Annotated[float, Meta(gt=0, le=10)] | None = None
    repeat_last_n: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    mirostat: Literal[0, 1, 2] | None = None
    mirostat_tau: Annotated[float, Meta(gt=0, le=100)] | None = None
    mirostat_eta: Annotated[float, Meta(gt=0, le=1)] | None = None


class OllamaFunction(OpenStruct, kw_only=True):
    """A function call. The arguments are an object."""

    name: Annotated[str, Meta(min_length=1)]
    arguments: dict[str, Any] = msgspec.field(default_factory=dict)
    index: int | None = None


class OllamaCall(OpenStruct, kw_only=True):
    """One tool call of an assistant's message."""

    function: OllamaFunction
    id: str | None = None
    type: str | None = None


class OllamaMessage(OpenStruct, kw_only=True):
    """A message of a chat."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str = ""
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[OllamaCall] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class _OllamaRequest(OpenStruct, kw_only=True):
    """The fields that all requests to a model have."""

    model: ModelName
    stream: bool = True
    format: Literal["", "json"] | dict[str, Any] | None = None
    think: Think | None = None
    options: OllamaOptions | None = None
    keep_alive: KeepAlive | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.format, dict):
            check_depth(self.format)


class OllamaChatRequest(_OllamaRequest, kw_only=True):
    """Body of a chat."""

    messages: Annotated[list[OllamaMessage], Meta(max_length=4096)] = msgspec.field(default_factory=list)
    tools: Annotated[list[dict[str, Any]], Meta(max_length=128)] | None = None


class OllamaGenerateRequest(_OllamaRequest, kw_only=True):
    """Body of a completion. With `raw` the prompt is used without the chat template."""

    prompt: str = ""
    suffix: str | None = None
    images: list[str] | None = None
    system: str | None = None
    template: str | None = None
    raw: bool | None = None
    context: list[int] | None = None


class OllamaShowRequest(OpenStruct, kw_only=True):
    """Body of a question about a model. ``name`` is the older name of ``model``."""

    model: ModelName | None = None
    name: ModelName | None = None
    verbose: bool | None = None


# --- answers ----------------------------------------------------------------------------------------


class OllamaCalled(msgspec.Struct, frozen=True, kw_only=True):
    """The function that an answer calls."""

    index: int
    name: str
    arguments: dict[str, Any]


class OllamaToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A tool call of an answer."""

    id: str
    function: OllamaCalled


class OllamaAnswered(msgspec.Struct, frozen=True, kw_only=True):
    """New content of an answer."""

    role: Literal["assistant"] = "assistant"
    content: str = ""
    thinking: str | UnsetType = UNSET
    tool_calls: list[OllamaToolCall] | UnsetType = UNSET


class _OllamaAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The fields that all lines of an answer have. Times are in nanoseconds. The last line has them and
    the counts."""

    model: str
    created_at: str
    done: bool
    done_reason: str | UnsetType = UNSET
    logprobs: list[TokenLogprob] | UnsetType = UNSET
    total_duration: int | UnsetType = UNSET
    load_duration: int | UnsetType = UNSET
    prompt_eval_count: Tally | UnsetType = UNSET
    prompt_eval_duration: int | UnsetType = UNSET
    eval_count: Tally | UnsetType = UNSET
    eval_duration: int | UnsetType = UNSET


class OllamaChatAnswer(_OllamaAnswer, frozen=True, kw_only=True):
    """A line of a chat's answer, or all of it."""

    message: OllamaAnswered


class OllamaGenerateAnswer(_OllamaAnswer, frozen=True, kw_only=True):
    """A line of a completion's answer, or all of it."""

    response: str
    thinking: str | UnsetType = UNSET


class OllamaDetails(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about a model's file. Empty texts are unknown."""

    parent_model: str = ""
    format: str = ""
    family: str = ""
    families: list[str] = []
    parameter_size: str = ""
    quantization_level: str = ""


class OllamaModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model that requests can name. ``digest`` is made of its fingerprint, which is known once it is loaded."""

    name: str
    model: str
    modified_at: str
    size: int = 0
    digest: str
    details: OllamaDetails


class OllamaModels(msgspec.Struct, frozen=True, kw_only=True):
    """All models that requests can name."""

    models: list[OllamaModel]


class OllamaRunning(msgspec.Struct, frozen=True, kw_only=True):
    """A model that is loaded. It stays so: ``expires_at`` is far away."""

    name: str
    model: str
    size: int = 0
    digest: str
    details: OllamaDetails
    expires_at: str
    size_vram: int = 0
    context_length: int


class OllamaRunningModels(msgspec.Struct, frozen=True, kw_only=True):
    """The models that are loaded."""

    models: list[OllamaRunning]


class OllamaShown(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about one model."""

    modelfile: str = ""
    parameters: str = ""
    template: str = ""
    details: OllamaDetails
    model_info: dict[str, Any]
    capabilities: list[str]
    modified_at: str


class OllamaVersion(msgspec.Struct, frozen=True, kw_only=True):
    """The version of Ollama whose API these URLs follow."""

    version: str


class OllamaError(msgspec.Struct, frozen=True, kw_only=True):
    """Body of an error, and the line that ends a stream early."""

    error: str
    code: str
    param: str | None = None

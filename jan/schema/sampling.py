"""Fields shared by chat and text completions: sampling parameters, stop strings, usage, stream options."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from jan.schema.open_body import OpenStruct

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]

StopString = Annotated[str, Meta(min_length=1, max_length=1024)]
Stop = StopString | Annotated[list[StopString], Meta(max_length=16)]

TokenId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
# Tokens are counted in the model's own vocabulary everywhere.
TokenLimit = Annotated[int, Meta(ge=1, le=10_000_000)]


class StreamOptions(OpenStruct, kw_only=True):
    """Options that apply to a streamed answer."""

    include_usage: bool = False


# The service tiers that a request may ask for, and the tier that the answer names.
RequestedTier = Literal["auto", "default", "flex", "scale", "priority"]
ServiceTier = Literal["default", "flex", "priority"]


class SamplingFields(OpenStruct, kw_only=True):
    """Sampling parameters. Other fields of OpenAI's API are ignored. ``null`` means the default."""

    temperature: (
        Annotated[float, Meta(ge=0, le=2, description="0 always takes the likeliest token; default 1")] | None
    ) = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=0, le=100_000, description="0 means off")] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    repeat_penalty: Annotated[float, Meta(ge=0.1, le=10, description="1 means off")] | None = None
    logit_bias: dict[TokenId, Annotated[float, Meta(ge=-100, le=100)]] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    n: Annotated[int, Meta(ge=1, le=16)] | None = None
    stop: Stop | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: Annotated[str, Meta(max_length=512)] | None = None
    service_tier: (
        Annotated[
            RequestedTier,
            Meta(description="flex: after other requests; priority: before them, for administrators only"),
        ]
        | None
    ) = None


# Larger than any count, and exact in every store and every JSON reader.
Tally = Annotated[int, Meta(ge=0, le=2**53)]


class PromptTokensDetails(msgspec.Struct, frozen=True, kw_only=True):
    """Details on the tokens of the prompt."""

    cached_tokens: Tally = 0


class CompletionTokensDetails(msgspec.Struct, frozen=True, kw_only=True):
    """Details on the tokens of the answer."""

    reasoning_tokens: Tally = 0


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Token counts of one request. All choices count together, the prompt once. Details of the answer are present
    if the model reasoned."""

    prompt_tokens: Tally
    completion_tokens: Tally
    total_tokens: Tally
    prompt_tokens_details: PromptTokensDetails = PromptTokensDetails()
    completion_tokens_details: CompletionTokensDetails | UnsetType = UNSET


class TopLogprob(msgspec.Struct, frozen=True, kw_only=True):
    """One candidate token for a position."""

    token: str
    logprob: float
    bytes: list[int] | None = None


class TokenLogprob(TopLogprob, frozen=True, kw_only=True):
    """The chosen token, and the likeliest candidates beside it in descending order."""

    top_logprobs: list[TopLogprob] = []

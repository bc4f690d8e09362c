"""What chat and text completions share: sampling parameters, stop strings, usage, stream options."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]

StopString = Annotated[str, Meta(min_length=1, max_length=1024)]
Stop = StopString | Annotated[list[StopString], Meta(max_length=16)]

TokenId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
# Tokens are counted in the model's own vocabulary everywhere.
TokenCount = Annotated[int, Meta(ge=1, le=10_000_000)]


class StreamOptions(msgspec.Struct, kw_only=True):
    """Options of a streamed answer."""

    include_usage: bool = False


# What a request may ask for, and what it is told it got.
RequestedTier = Literal["auto", "default", "flex", "scale", "priority"]
ServiceTier = Literal["default", "flex", "priority"]


class SamplingFields(msgspec.Struct, kw_only=True):
    """Sampling parameters; unknown fields of OpenAI's are ignored, ``null`` means the default."""

    temperature: Annotated[float, Meta(ge=0, le=2, description="0 is greedy; default 1")] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=0, le=100_000, description="0 is off")] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    repeat_penalty: Annotated[float, Meta(ge=0.1, le=10, description="1 is off")] | None = None
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
            Meta(description="flex: let others go first; priority: before others, for administrators only"),
        ]
        | None
    ) = None


# More than any count, and what every store and every JSON reader can hold.
Tally = Annotated[int, Meta(ge=0, le=2**53)]


class PromptTokensDetails(msgspec.Struct, frozen=True, kw_only=True):
    """How the prompt's tokens were come by."""

    cached_tokens: Tally = 0


class CompletionTokensDetails(msgspec.Struct, frozen=True, kw_only=True):
    """What the answer's tokens were."""

    reasoning_tokens: Tally = 0


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Token counts of one request; all its choices together, the prompt once. Details of the answer are there if
    the model reasoned."""

    prompt_tokens: Tally
    completion_tokens: Tally
    total_tokens: Tally
    prompt_tokens_details: PromptTokensDetails = PromptTokensDetails()
    completion_tokens_details: CompletionTokensDetails | UnsetType = UNSET


class TopLogprob(msgspec.Struct, frozen=True, kw_only=True):
    """One candidate for a position."""

    token: str
    logprob: float
    bytes: list[int] | None = None


class TokenLogprob(TopLogprob, frozen=True, kw_only=True):
    """The token that was taken, and the likeliest candidates beside it, likeliest first."""

    top_logprobs: list[TopLogprob] = []

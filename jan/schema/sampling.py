"""Parts that chat and text completions share: stream options, usage, log probabilities."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from jan.schema.open_body import OpenStruct, Unserved
from jan.schema.unserved import UNSERVED_IN_STREAM_OPTIONS

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


class StreamOptions(OpenStruct, kw_only=True):
    """Options that apply to a streamed answer."""

    unserved: ClassVar[Mapping[str, Unserved]] = UNSERVED_IN_STREAM_OPTIONS

    include_usage: Annotated[bool, Meta(description="End with a chunk of token counts")] | None = False
    continuous_usage_stats: (
        Annotated[
            bool, Meta(description="Token counts in each chunk, with include_usage", extra={"of": "vLLM, SGLang"})
        ]
        | None
    ) = False
    include_html: (
        Annotated[
            bool,
            Meta(
                description="Finished blocks of the answer as HTML, in events named block",
                extra={"of": "Jan Server"},
            ),
        ]
        | None
    ) = False


# The service tier that an answer names.
ServiceTier = Literal["default", "flex", "priority"]


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

    @property
    def reasoning_tokens(self) -> int:
        """The tokens of the answer that were reasoning."""
        details = self.completion_tokens_details
        return details.reasoning_tokens if isinstance(details, CompletionTokensDetails) else 0


class TopLogprob(msgspec.Struct, frozen=True, kw_only=True):
    """One candidate token for a position. ``token_id`` is sent where the request asks for token ids."""

    token: str
    logprob: float
    bytes: list[int] | None = None
    token_id: int | UnsetType = UNSET


class TokenLogprob(TopLogprob, frozen=True, kw_only=True):
    """The chosen token, and the likeliest candidates beside it in descending order."""

    top_logprobs: list[TopLogprob] = []
    rank: int | UnsetType = UNSET


# For each token of the prompt: log probability, rank and text, by token id; null for the first one. vLLM's form.
PromptScores = list[dict[str, dict[str, Any]] | None]

"""POST /completions: request, response; a streamed response has the same shape, piece by piece."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from jan.schema.sampling import FinishReason, SamplingFields, ServiceTier, TokenId, Usage

Prompt = str | list[str | TokenId | list[TokenId]]


class CompletionRequest(SamplingFields, kw_only=True):
    """Body of a text completion request. ``prompt``: a text, texts, tokens, or lists of tokens."""

    model: str
    prompt: Prompt
    max_tokens: Annotated[int, Meta(ge=0, le=10_000_000, description="default 16")] | None = None
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    echo: bool | None = None
    suffix: str | None = None
    best_of: Annotated[int, Meta(ge=1, le=16)] | None = None


class CompletionLogprobs(msgspec.Struct, kw_only=True):
    """Log probabilities in the text API's form: parallel lists, one entry a token."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class CompletionChoice(msgspec.Struct, kw_only=True):
    """One text, or what is new in it."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None = None
    finish_reason: FinishReason | None = None


class Completion(msgspec.Struct, kw_only=True):
    """The answer, or one event of a streamed answer; ``created`` in seconds since the epoch."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage | UnsetType | None = UNSET
    system_fingerprint: str | None = None
    service_tier: ServiceTier | UnsetType = UNSET

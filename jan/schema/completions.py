"""POST /completions: request and response. A streamed response has the same shape, piece by piece."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from jan.schema.open_body import Unserved
from jan.schema.parameters import SamplingFields, TokenId
from jan.schema.sampling import FinishReason, ServiceTier, Usage
from jan.schema.unserved import UNSERVED_IN_COMPLETIONS

Prompt = str | list[str | TokenId | list[TokenId]]


class CompletionRequest(SamplingFields, kw_only=True):
    """Body of a text completion request. ``prompt`` is a text, a list of texts, a list of tokens, or a list of
    such lists."""

    unserved: ClassVar[Mapping[str, Unserved]] = UNSERVED_IN_COMPLETIONS

    model: str
    prompt: Prompt
    max_tokens: (
        Annotated[
            int,
            Meta(
                ge=-1,
                le=10_000_000,
                description="Most tokens of the answer; -1: as many as fit the context; default 16",
            ),
        ]
        | None
    ) = None
    logprobs: (
        Annotated[int, Meta(ge=0, le=20, description="Number of likeliest tokens to report beside each token")]
        | None
    ) = None
    echo: Annotated[bool, Meta(description="Put the prompt before the answer; not with logprobs")] | None = None
    suffix: (
        Annotated[str, Meta(description="Text after the answer; not supported, so only an empty one")] | None
    ) = None
    best_of: Annotated[int, Meta(ge=1, le=16, description="Not supported; allowed: the value of n")] | None = None


class CompletionLogprobs(msgspec.Struct, kw_only=True):
    """Log probabilities as parallel lists, with one entry per token."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class CompletionChoice(msgspec.Struct, kw_only=True):
    """One text, or the new part of it."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None = None
    finish_reason: FinishReason | None = None


class Completion(msgspec.Struct, kw_only=True):
    """The complete answer, or one event of a streamed answer. ``created`` is in seconds since 1970."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage | UnsetType | None = UNSET
    system_fingerprint: str | None = None
    service_tier: ServiceTier | UnsetType = UNSET

"""POST /completions: request and response. A streamed response has the same shape, piece by piece."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from jan.schema.open_body import Unserved
from jan.schema.parameters import ModelOfRequest, SamplingFields
from jan.schema.penalty_parameters import TokenId
from jan.schema.sampling import FinishReason, PromptScores, ServiceTier, Usage
from jan.schema.unserved import COMPLETION_ALIASES, UNSERVED_IN_COMPLETIONS

# Longer than the context of any model.
_MOST_TOKENS = 2**20
Prompt = (
    str
    | Annotated[
        list[str | TokenId | Annotated[list[TokenId], Meta(max_length=_MOST_TOKENS)]],
        Meta(max_length=_MOST_TOKENS),
    ]
)


class CompletionRequest(SamplingFields, kw_only=True):
    """Body of a text completion request. ``prompt`` is a text, a list of texts, a list of tokens, or a list of
    such lists; null is an empty one."""

    unserved: ClassVar[Mapping[str, Unserved]] = UNSERVED_IN_COMPLETIONS
    aliases: ClassVar[Mapping[str, str]] = COMPLETION_ALIASES

    model: ModelOfRequest
    prompt: Annotated[Prompt, Meta(description="One text or list of tokens, or a list of them")] | None = None
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
        Annotated[
            int,
            Meta(
                ge=0,
                le=20,
                description="Number of likeliest tokens to report beside each token; with echo, also "
                "of the prompt",
            ),
        ]
        | None
    ) = None
    echo: Annotated[bool, Meta(description="Put the prompt before the answer")] | None = None
    suffix: (
        Annotated[str, Meta(description="Text after the answer, for models that were trained to fill in")] | None
    ) = None
    best_of: (
        Annotated[
            int,
            Meta(ge=1, le=128, description="Generate this many answers and return the n likeliest; not streamed"),
        ]
        | None
    ) = None


class CompletionLogprobs(msgspec.Struct, kw_only=True):
    """Log probabilities as parallel lists, with one entry per token. ``text_offset``: where its text begins, in
    characters. Tokens that are no whole characters are written as in "bytes:\\xf0"."""

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
    token_ids: list[int] | UnsetType = UNSET
    prompt_token_ids: list[int] | UnsetType = UNSET
    prompt_logprobs: PromptScores | UnsetType = UNSET


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

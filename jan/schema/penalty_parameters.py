"""Parameters of sampling: penalties, bias and bans of tokens."""

from typing import Annotated

from msgspec import Meta

from jan.schema.sampler_parameters import SamplerFields, of

_MOST_TOKENS = 10_000_000
_LARGE = 1_000_000
_ALL = ("vLLM", "SGLang", "llama-server", "TabbyAPI")

TokenId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
TokenIds = Annotated[list[TokenId], Meta(max_length=200_000)]


class PenaltyFields(SamplerFields, kw_only=True):
    """Parameters that make single tokens likelier or less likely."""

    presence_penalty: Annotated[float, Meta(ge=-2, le=2, description="For tokens of the answer")] | None = None
    frequency_penalty: (
        Annotated[float, Meta(ge=-2, le=2, description="For tokens of the answer, for each time")] | None
    ) = None
    repeat_penalty: (
        Annotated[
            float,
            Meta(
                ge=0.01,
                le=100,
                description="Divides positive logits of the answer's tokens and multiplies negative ones; "
                "1 is off",
                extra=of(*_ALL),
            ),
        ]
        | None
    ) = None
    repeat_last_n: (
        Annotated[
            int,
            Meta(
                ge=-1,
                le=_MOST_TOKENS,
                description="Tokens of the answer that the three penalties look back at; 0: none, "
                "-1 and default: 4096",
                extra=of("llama-server", "TabbyAPI"),
            ),
        ]
        | None
    ) = None
    dry_multiplier: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=100,
                description="DRY: penalty for continuing a repetition; 0 is off",
                extra=of("llama-server", "TabbyAPI"),
            ),
        ]
        | None
    ) = None
    dry_base: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=100,
                description="DRY: growth of the penalty with each token; below 1: default 1.75",
                extra=of("llama-server", "TabbyAPI"),
            ),
        ]
        | None
    ) = None
    dry_allowed_length: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=_LARGE,
                description="DRY: longest repetition without penalty, in tokens; default 2",
                extra=of("llama-server", "TabbyAPI"),
            ),
        ]
        | None
    ) = None
    dry_penalty_last_n: (
        Annotated[
            int,
            Meta(
                ge=-1,
                le=_MOST_TOKENS,
                description="DRY: tokens of prompt and answer to look back at; 0: none, -1 and default: all",
                extra=of("llama-server", "TabbyAPI"),
            ),
        ]
        | None
    ) = None
    dry_range: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=_MOST_TOKENS,
                description="DRY: the same as dry_penalty_last_n, but 0 means all",
                extra=of("TabbyAPI"),
            ),
        ]
        | None
    ) = None
    dry_sequence_breakers: (
        Annotated[
            list[Annotated[str, Meta(max_length=64)]],
            Meta(
                max_length=64,
                description='DRY: texts that end a repetition; default "\\n", ":", "\\"", "*"',
                extra=of("llama-server", "TabbyAPI"),
            ),
        ]
        | None
    ) = None
    logit_bias: (
        Annotated[
            dict[str, float],
            Meta(max_length=1024, description="Added to logits, by token id; -100 to 100"),
        ]
        | None
    ) = None
    bad_words: (
        Annotated[
            list[Annotated[str, Meta(min_length=1, max_length=1024)]],
            Meta(max_length=1000, description="Texts that are never generated", extra=of("vLLM")),
        ]
        | None
    ) = None
    banned_tokens: (
        Annotated[TokenIds | str, Meta(description="Token ids that are never generated", extra=of("TabbyAPI"))]
        | None
    ) = None
    allowed_token_ids: (
        Annotated[
            TokenIds, Meta(description="The only token ids that are generated", extra=of("vLLM", "TabbyAPI"))
        ]
        | None
    ) = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1, description="Makes sampling repeatable")] | None = None

"""Parameters that chat and text completions share: sampling, where an answer ends, what is reported, formats.

``of`` in a field's ``Meta.extra`` says which other servers have the parameter, if it is not OpenAI's. The table of
parameters in the docs is made of these fields and of ``jan.schema.unserved``.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from jan.schema.open_body import OpenStruct
from jan.schema.output_formats import (
    GuidedChoice,
    GuidedSchema,
    GuidedText,
    ResponseFormat,
    StructuredOutputs,
    check_depth,
)
from jan.schema.sampling import StreamOptions
from jan.schema.unserved import ALIASES

_MOST_TOKENS = 10_000_000
_LARGE = 1_000_000

StopString = Annotated[str, Meta(min_length=1, max_length=1024)]
Stop = StopString | Annotated[list[StopString], Meta(max_length=16)]
TokenId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
TokenIds = Annotated[list[TokenId], Meta(max_length=200_000)]

# The service tiers that a request may ask for.
RequestedTier = Literal["auto", "default", "flex", "scale", "priority"]


def of(*servers: str) -> dict[str, str]:
    """Return metadata that says which other servers have a parameter."""
    return {"of": ", ".join(servers)}


_ALL = ("vLLM", "SGLang", "llama-server", "TabbyAPI")


class SamplingFields(OpenStruct, kw_only=True):
    """Parameters of both kinds of completions. ``null`` means the default."""

    aliases: ClassVar[Mapping[str, str]] = ALIASES

    # --- the distribution ---------------------------------------------------------------------------

    temperature: (
        Annotated[float, Meta(ge=0, le=2, description="0 always takes the likeliest token; default 1")] | None
    ) = None
    top_p: Annotated[float, Meta(ge=0, le=1, description="Nucleus sampling; 1 is off")] | None = None
    top_k: (
        Annotated[int, Meta(ge=-1, le=_LARGE, description="Most candidates; 0 and -1 are off", extra=of(*_ALL))]
        | None
    ) = None
    min_p: (
        Annotated[
            float,
            Meta(
                ge=0, le=1, description="Drops tokens below this part of the likeliest; 0 is off", extra=of(*_ALL)
            ),
        ]
        | None
    ) = None
    typical_p: (
        Annotated[
            float,
            Meta(
                gt=0,
                le=1,
                description="Locally typical sampling; 1 is off",
                extra=of("llama-server", "TabbyAPI"),
            ),
        ]
        | None
    ) = None
    top_n_sigma: (
        Annotated[
            float,
            Meta(
                ge=-1,
                le=1000,
                description="Keeps logits within this many standard deviations of the highest; 0 and -1 are off",
                extra=of("llama-server"),
            ),
        ]
        | None
    ) = None
    xtc_probability: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=1,
                description="Probability of excluding the top choices but one; 0 is off",
                extra=of("llama-server", "TabbyAPI"),
            ),
        ]
        | None
    ) = None
    xtc_threshold: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=1,
                description="Least probability of a top choice; default 0.1",
                extra=of("llama-server", "TabbyAPI"),
            ),
        ]
        | None
    ) = None
    dynatemp_range: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=2,
                description="Dynamic temperature: temperature plus and minus this, by entropy; 0 is off",
                extra=of("llama-server"),
            ),
        ]
        | None
    ) = None
    dynatemp_exponent: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=10,
                description="Exponent of the entropy in dynamic temperature; default 1",
                extra=of("llama-server", "TabbyAPI"),
            ),
        ]
        | None
    ) = None
    min_temp: (
        Annotated[
            float,
            Meta(
                ge=0, le=4, description="Least dynamic temperature, with max_temp; default 1", extra=of("TabbyAPI")
            ),
        ]
        | None
    ) = None
    max_temp: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=4,
                description="Most dynamic temperature; default 1. Off unless above min_temp",
                extra=of("TabbyAPI"),
            ),
        ]
        | None
    ) = None
    mirostat: (
        bool
        | Annotated[
            int,
            Meta(
                ge=0,
                le=2,
                description="1: Mirostat, 2: Mirostat 2.0, instead of the other ways to choose; 0 is off",
                extra=of("llama-server", "TabbyAPI"),
            ),
        ]
        | None
    ) = None
    mirostat_tau: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=100,
                description="Target surprise of Mirostat in bits; default 5",
                extra=of("llama-server", "TabbyAPI"),
            ),
        ]
        | None
    ) = None
    mirostat_eta: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=10,
                description="Learning rate of Mirostat; default 0.1",
                extra=of("llama-server", "TabbyAPI"),
            ),
        ]
        | None
    ) = None

    # --- penalties, bias and bans -------------------------------------------------------------------

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
        Annotated[dict[str, float], Meta(description="Added to logits, by token id; -100 to 100")] | None
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

    # --- where an answer ends -----------------------------------------------------------------------

    stop: Annotated[Stop, Meta(description="Texts that end the answer, at most 16")] | None = None
    stop_token_ids: (
        Annotated[TokenIds, Meta(description="Token ids that end the answer", extra=of("vLLM", "SGLang"))] | None
    ) = None
    include_stop_str_in_output: (
        Annotated[bool, Meta(description="Keep the text that ended the answer", extra=of("vLLM", "SGLang"))] | None
    ) = None
    ignore_eos: (
        Annotated[bool, Meta(description="Never generate the model's own end tokens", extra=of(*_ALL))] | None
    ) = None
    min_tokens: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=_MOST_TOKENS,
                description="Generate no end token before this many tokens",
                extra=of("vLLM", "SGLang", "TabbyAPI"),
            ),
        ]
        | None
    ) = None

    # --- the form of the answer ---------------------------------------------------------------------

    response_format: (
        Annotated[ResponseFormat, Meta(description="text, json_object, json_schema, regex or grammar")] | None
    ) = None
    structured_outputs: (
        Annotated[
            StructuredOutputs,
            Meta(description="One of json, json_object, regex, choice, grammar", extra=of("vLLM")),
        ]
        | None
    ) = None
    guided_json: Annotated[GuidedSchema, Meta(description="A JSON schema", extra=of("vLLM"))] | None = None
    guided_regex: Annotated[GuidedText, Meta(description="A regular expression", extra=of("vLLM"))] | None = None
    guided_choice: Annotated[GuidedChoice, Meta(description="Texts to choose from", extra=of("vLLM"))] | None = (
        None
    )
    guided_grammar: (
        Annotated[GuidedText, Meta(description="A grammar in Lark or GBNF", extra=of("vLLM"))] | None
    ) = None
    json_schema: (
        Annotated[GuidedSchema, Meta(description="A JSON schema", extra=of("SGLang", "llama-server", "TabbyAPI"))]
        | None
    ) = None
    regex: Annotated[GuidedText, Meta(description="A regular expression", extra=of("SGLang"))] | None = None
    grammar: (
        Annotated[GuidedText, Meta(description="A grammar in Lark or GBNF", extra=of("llama-server"))] | None
    ) = None

    # --- what is reported ---------------------------------------------------------------------------

    prompt_logprobs: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=20,
                description="Log probabilities of the prompt's tokens, with this many alternatives; not streamed",
                extra=of("vLLM"),
            ),
        ]
        | None
    ) = None
    return_token_ids: (
        Annotated[
            bool,
            Meta(description="Report the ids of the prompt's and the answer's tokens", extra=of("vLLM", "SGLang")),
        ]
        | None
    ) = None
    return_tokens_as_token_ids: (
        Annotated[bool, Meta(description='Write tokens in log probabilities as "token_id:5"', extra=of("vLLM"))]
        | None
    ) = None
    skip_special_tokens: (
        Annotated[
            bool,
            Meta(
                description="Leave out control tokens that are no marks of reasoning or tool calls; default false",
                extra=of("vLLM", "SGLang", "TabbyAPI"),
            ),
        ]
        | None
    ) = None

    # --- everything else ----------------------------------------------------------------------------

    truncate_prompt_tokens: (
        Annotated[
            int,
            Meta(
                ge=-1,
                le=_MOST_TOKENS,
                description="Keep this many tokens of the prompt; -1: as many as fit",
                extra=of("vLLM"),
            ),
        ]
        | None
    ) = None
    truncation_side: (
        Annotated[
            Literal["left", "right"], Meta(description="Where the prompt is cut; default left", extra=of("vLLM"))
        ]
        | None
    ) = None
    cache_salt: (
        Annotated[
            str,
            Meta(
                max_length=256,
                description="Share cached prompts only with requests of the same salt",
                extra=of("vLLM", "SGLang"),
            ),
        ]
        | None
    ) = None
    cache_prompt: (
        Annotated[bool, Meta(description="false: reuse no cached prompt; default true", extra=of("llama-server"))]
        | None
    ) = None
    priority: (
        Annotated[
            int,
            Meta(
                ge=-(2**63),
                le=2**63 - 1,
                description="Above 0: after other requests. Below 0: before them, for administrators only",
                extra=of("vLLM"),
            ),
        ]
        | None
    ) = None
    request_id: (
        Annotated[
            str,
            Meta(
                pattern=r"^[A-Za-z0-9._-]{1,128}(?!\n)$",
                description="The request's id in headers and log, unless X-Request-Id says it",
                extra=of("vLLM", "SGLang"),
            ),
        ]
        | None
    ) = None
    n: (
        Annotated[int, Meta(ge=1, le=128, description="Answers; at most as many as the model has slots and queue")]
        | None
    ) = None
    stream: Annotated[bool, Meta(description="Send the answer as server-sent events")] | None = None
    stream_options: Annotated[StreamOptions, Meta(description="Options of a stream")] | None = None
    user: Annotated[str, Meta(max_length=512, description="A name of yours for your user; not used")] | None = None
    service_tier: (
        Annotated[
            RequestedTier,
            Meta(description="flex: after other requests; priority: before them, for administrators only"),
        ]
        | None
    ) = None

    def __post_init__(self) -> None:
        check_depth(self.guided_json)
        check_depth(self.json_schema)

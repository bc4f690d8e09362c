"""Parameters that chat and text completions share: sampling, where an answer ends, what is reported, formats.

``of`` in a field's ``Meta.extra`` says which other servers have the parameter, if it is not OpenAI's. The table of
parameters in the docs is made of these fields and of ``jan.schema.unserved``.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from jan.schema.output_formats import (
    GuidedChoice,
    GuidedSchema,
    GuidedText,
    ResponseFormat,
    StructuredOutputs,
    check_depth,
)
from jan.schema.penalty_parameters import PenaltyFields, TokenIds
from jan.schema.sampler_parameters import of
from jan.schema.sampling import StreamOptions
from jan.schema.unserved import ALIASES

_MOST_TOKENS = 10_000_000

ModelOfRequest = Annotated[str, Meta(description="The id of a model, or an alias")]
StopString = Annotated[str, Meta(min_length=1, max_length=1024)]
Stop = StopString | Annotated[list[StopString], Meta(max_length=16)]

# The service tiers that a request may ask for.
RequestedTier = Literal["auto", "default", "flex", "scale", "priority"]


_ALL = ("vLLM", "SGLang", "llama-server", "TabbyAPI")


class SamplingFields(PenaltyFields, kw_only=True):
    """Parameters of both kinds of completions. ``null`` means the default."""

    aliases: ClassVar[Mapping[str, str]] = ALIASES

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
            Meta(
                description="Report the ids of the prompt's and the answer's tokens, with that of its end",
                extra=of("vLLM", "SGLang"),
            ),
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
                description="Keep this many tokens of the prompt, at least 1; -1: as many as fit",
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
    user: (
        Annotated[str, Meta(max_length=512, description="A name of yours for your user; it changes no answer")]
        | None
    ) = None
    service_tier: (
        Annotated[
            RequestedTier,
            Meta(description="flex: after other requests; priority: before them, for administrators only"),
        ]
        | None
    ) = None

    def __post_init__(self) -> None:
        # Every request comes here, and nearly none has these.
        if self.guided_json is not None:
            check_depth(self.guided_json)
        if self.json_schema is not None:
            check_depth(self.json_schema)

"""POST /rerank and POST /score: requests and answers by vLLM, Jina, Cohere and Text Embeddings Inference."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from jan.schema.embeddings import EmbeddingUsage
from jan.schema.open_body import OpenStruct, Unserved
from jan.schema.parameters import ModelOfRequest

ScoredBy = Literal["cosine", "cross_encoder"]

#: Parameters of others that are not served.
UNSERVED_IN_SCORING: Mapping[str, Unserved] = MappingProxyType(
    {
        "instruction": Unserved(whose="vLLM", reason="Write it into the query."),
        "chat_template_kwargs": Unserved(whose="vLLM", reason="Texts are embedded without a chat template."),
        "mm_processor_kwargs": Unserved(whose="vLLM", reason="This server's models read text only."),
        "priority": Unserved(whose="vLLM", reason="Requests to embed have one priority.", neutral=(0,)),
        "rank_fields": Unserved(whose="Cohere", reason="Documents are texts, or objects with a text."),
    }
)


class ScoringOptions(OpenStruct, kw_only=True):
    """The fields that both requests have."""

    unserved: ClassVar[Mapping[str, Unserved]] = UNSERVED_IN_SCORING
    aliases: ClassVar[Mapping[str, str]] = MappingProxyType({"activation": "use_activation"})

    truncate_prompt_tokens: (
        Annotated[
            int,
            Meta(
                ge=-1,
                le=10_000_000,
                description="Keep this many tokens of each text, or of each pair if it is read together; -1: what "
                "fits",
            ),
        ]
        | None
    ) = None
    max_tokens_per_query: (
        Annotated[
            int,
            Meta(ge=0, le=10_000_000, description="Keep this many tokens of the first text; 0: all, the default"),
        ]
        | None
    ) = None
    max_tokens_per_doc: (
        Annotated[
            int,
            Meta(ge=0, le=10_000_000, description="Keep this many tokens of each document; 0: all, the default"),
        ]
        | None
    ) = None
    use_activation: (
        Annotated[
            bool,
            Meta(description="false: a cross-encoder's score is its logit, and not between 0 and 1; default true"),
        ]
        | None
    ) = None
    user: Annotated[str, Meta(description="Accepted, and used for nothing")] | None = None


class DocumentToRank(OpenStruct, kw_only=True):
    """A document as an object."""

    text: str


class RerankRequest(ScoringOptions, kw_only=True):
    """Body of a request to order documents by a query."""

    model: (
        Annotated[str, Meta(description="The id of a model, or an alias; default the first that scores")] | None
    ) = None
    query: Annotated[str, Meta(description="A text")]
    documents: (
        Annotated[
            str | list[str | DocumentToRank], Meta(description="At most 2047 texts, or objects with a `text`")
        ]
        | None
    ) = None
    texts: (
        Annotated[
            list[str],
            Meta(description="The documents by Text Embeddings Inference: the answer is a list of scores then"),
        ]
        | None
    ) = None
    return_text: Annotated[bool, Meta(description="With `texts`: return them too; default false")] | None = None
    raw_scores: Annotated[bool, Meta(description="With `texts`: as `use_activation: false`")] | None = None
    truncate: Annotated[bool, Meta(description="With `texts`: as `truncate_prompt_tokens: -1`")] | None = None
    top_n: Annotated[int, Meta(ge=0, le=1_000_000, description="Return so many; 0: all, the default")] | None = (
        None
    )
    return_documents: (
        Annotated[bool, Meta(description="false: leave the texts out of the answer; default true")] | None
    ) = None


class ScoreRequest(ScoringOptions, kw_only=True):
    """Body of a request to score pairs: `text_1` and `text_2`, or vLLM's other names of the two sides."""

    model: ModelOfRequest
    text_1: str | list[str] | None = None
    text_2: str | list[str] | None = None
    queries: str | list[str] | None = None
    documents: str | list[str] | None = None
    items: str | list[str] | None = None
    data_1: str | list[str] | None = None
    data_2: str | list[str] | None = None


class RankedDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A document of the answer."""

    text: str


class RerankResult(msgspec.Struct, frozen=True, kw_only=True):
    """A document's score, and its place in the request."""

    index: int
    relevance_score: float
    document: RankedDocument | None


class RankedText(msgspec.Struct, frozen=True, kw_only=True):
    """A text's score by Text Embeddings Inference, and its place in the request."""

    index: int
    score: float
    text: str | UnsetType = UNSET


class RerankResponse(msgspec.Struct, frozen=True, kw_only=True):
    """The documents, the nearest one first. ``scored_by``: how the scores were found."""

    id: str
    object: Literal["list"] = "list"
    model: str
    results: list[RerankResult]
    scored_by: ScoredBy
    usage: EmbeddingUsage


class ScoredPair(msgspec.Struct, frozen=True, kw_only=True):
    """The score of a pair, and its place in the request."""

    index: int
    object: Literal["score"] = "score"
    score: float


class ScoreResponse(msgspec.Struct, frozen=True, kw_only=True):
    """The scores of all pairs, in their order. ``scored_by``: how they were found."""

    id: str
    object: Literal["list"] = "list"
    created: int
    model: str
    data: list[ScoredPair]
    scored_by: ScoredBy
    usage: EmbeddingUsage

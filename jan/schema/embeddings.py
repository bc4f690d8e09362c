"""POST /embeddings: request and response, as in https://platform.openai.com/docs/api-reference/embeddings/create."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from jan.schema.completions import Prompt
from jan.schema.open_body import OpenStruct, Unserved
from jan.schema.parameters import ModelOfRequest

_NORMALISED = "Vectors have the length 1."
_AS_TRAINED = "Texts are tokenised in the way that the model was trained with."


def _vllm(reason: str, *neutral: object) -> Unserved:
    return Unserved(whose="vLLM", reason=reason, neutral=neutral)


#: Parameters of vLLM and llama-server that are not served.
UNSERVED_IN_EMBEDDINGS: Mapping[str, Unserved] = MappingProxyType(
    {
        "messages": _vllm("Chats are not embedded. Use input."),
        "add_special_tokens": _vllm(_AS_TRAINED, True),
        "priority": _vllm("Requests to embed have one priority.", 0),
        "normalize": _vllm(_NORMALISED, True),
        "use_activation": _vllm(_NORMALISED, True),
        "embed_dtype": _vllm("Numbers are float32.", "float32"),
        "endianness": _vllm("Numbers are little-endian.", "little", "native"),
        "embd_normalize": Unserved(whose="llama-server", reason=_NORMALISED, neutral=(2,)),
    }
)


class EmbeddingRequest(OpenStruct, kw_only=True):
    """Body of a request to embed texts. ``input`` is a text, a list of texts, a list of tokens, or a list of such
    lists."""

    unserved: ClassVar[Mapping[str, Unserved]] = UNSERVED_IN_EMBEDDINGS
    aliases: ClassVar[Mapping[str, str]] = MappingProxyType({"content": "input"})

    model: ModelOfRequest
    input: Annotated[Prompt, Meta(description="One text or list of tokens, or a list of at most 2048 of them")]
    encoding_format: (
        Annotated[
            Literal["float", "base64"],
            Meta(description="How vectors are written; `base64`: of little-endian float32; default `float`"),
        ]
        | None
    ) = None
    dimensions: (
        Annotated[
            int,
            Meta(ge=1, le=1_000_000, description="Numbers of a vector, of a model that allows it; default all"),
        ]
        | None
    ) = None
    user: Annotated[str, Meta(description="Accepted, and used for nothing")] | None = None
    truncate_prompt_tokens: (
        Annotated[
            int,
            Meta(
                ge=-1, le=10_000_000, description="Keep this many tokens of a text; -1: as many as the model takes"
            ),
        ]
        | None
    ) = None
    truncation_side: (
        Annotated[
            Literal["left", "right"],
            Meta(description="The side that `truncate_prompt_tokens` cuts; default `right`"),
        ]
        | None
    ) = None


class Embedding(msgspec.Struct, kw_only=True):
    """The vector of one text, as numbers or as base64."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingUsage(msgspec.Struct, kw_only=True):
    """Token counts of the texts."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(msgspec.Struct, kw_only=True):
    """The vectors of all texts, in their order. ``model`` is the one that was asked for."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage

"""Ollama's API for vectors of texts: requests and answers."""

from typing import Annotated

import msgspec
from msgspec import Meta

from jan.schema.ollama import KeepAlive, ModelName, OllamaOptions
from jan.schema.open_body import OpenStruct
from jan.schema.sampling import Tally


class OllamaEmbeddingOptions(OpenStruct, kw_only=True):
    """The fields that both requests have. `options` and `keep_alive` mean nothing here, and are reported."""

    model: ModelName
    options: OllamaOptions | None = None
    keep_alive: KeepAlive | None = None
    dimensions: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None


class OllamaEmbedRequest(OllamaEmbeddingOptions, kw_only=True):
    """Body of a request for the vectors of texts."""

    input: Annotated[str | list[str], Meta(description="One text, or at most 2048")] = ""
    truncate: Annotated[bool, Meta(description="false: refuse texts that are too long")] | None = None


class OllamaEmbeddingRequest(OllamaEmbeddingOptions, kw_only=True):
    """Body of a request for the vector of one text."""

    prompt: str = ""


class OllamaEmbedded(msgspec.Struct, frozen=True, kw_only=True):
    """The vectors of texts. ``total_duration`` is in nanoseconds."""

    model: str
    embeddings: list[list[float]]
    total_duration: int
    load_duration: int = 0
    prompt_eval_count: Tally = 0


class OllamaEmbedding(msgspec.Struct, frozen=True, kw_only=True):
    """The vector of one text."""

    embedding: list[float]

"""POST /api/embed and POST /api/embeddings, as in https://github.com/ollama/ollama/blob/main/docs/api.md."""

import time
from typing import Any

import msgspec

from handlers.ollama.ollama_answers import OllamaHandler
from handlers.openai.vectors import check_count, check_filled, embed, in_turns, numbers_of
from jan.errors import NotFound, Unavailable
from jan.handler import CollectedAnswer, EmbeddingPrompt
from jan.operation import Example, operation
from jan.schema.ollama_embeddings import (
    OllamaEmbedded,
    OllamaEmbedding,
    OllamaEmbeddingOptions,
    OllamaEmbeddingRequest,
    OllamaEmbedRequest,
)
from jan.schema.scopes import ANONYMOUS_OR_INFERENCE

_MODEL = "all-minilm-l6-v2"


class OllamaEmbeddingHandler(OllamaHandler):
    """The base of both: embeds texts."""

    api = "ollama.embed"

    async def embedded(
        self, body: OllamaEmbeddingOptions, texts: tuple[str, ...], named: tuple[str, ...], *, cut: bool
    ) -> tuple[list[Any], CollectedAnswer]:
        """Return the vectors of texts as JSON, and the model's answer. ``cut``: cut texts that are too long."""
        self.ignore(*(name for name in ("keep_alive", "options") if getattr(body, name) is not None))
        prompt = EmbeddingPrompt(inputs=texts, named=named, dimensions=body.dimensions)
        answer = await embed(self, self.model_of(body.model), prompt, truncate=-1 if cut else None)
        lists = [msgspec.Raw(msgspec.json.encode(numbers_of(vector))) async for vector in in_turns(answer.vectors)]
        return lists, answer


class OllamaEmbed(OllamaEmbeddingHandler):
    """Embeddings, compatible with Ollama's."""

    @operation(
        summary="Embed texts by Ollama's API",
        access=ANONYMOUS_OR_INFERENCE,
        tag="ollama",
        request=OllamaEmbedRequest,
        response=OllamaEmbedded,
        limit="inference",
        errors=(NotFound, Unavailable),
        examples=(
            Example(summary="Vectors by Ollama's API", body={"model": _MODEL, "input": ["A cat.", "A dog."]}),
        ),
    )
    async def post(self, body: OllamaEmbedRequest) -> OllamaEmbedded:
        """Return a vector of length 1 for each text. Texts that are too long are cut at their end, unless
        `truncate` is false. Without texts, the model is loaded."""
        began = time.perf_counter_ns()
        if not body.input:
            await self.load(body.model)
            return OllamaEmbedded(model=body.model, embeddings=[], total_duration=time.perf_counter_ns() - began)
        texts = (body.input,) if isinstance(body.input, str) else tuple(body.input)
        check_count(texts, "input")
        places = ("input",) if isinstance(body.input, str) else tuple(f"input[{at}]" for at in range(len(texts)))
        for place, text in zip(places, texts, strict=True):
            check_filled(text, place)
        vectors, answer = await self.embedded(body, texts, places, cut=body.truncate is not False)
        return OllamaEmbedded(
            model=body.model,
            embeddings=vectors,
            total_duration=time.perf_counter_ns() - began,
            prompt_eval_count=answer.prompt_tokens,
        )


class OllamaEmbeddings(OllamaEmbeddingHandler):
    """The older form of embeddings, compatible with Ollama's."""

    @operation(
        summary="Embed one text by Ollama's API",
        access=ANONYMOUS_OR_INFERENCE,
        tag="ollama",
        request=OllamaEmbeddingRequest,
        response=OllamaEmbedding,
        limit="inference",
        errors=(NotFound, Unavailable),
        examples=(Example(summary="A vector by Ollama's API", body={"model": _MODEL, "prompt": "A cat."}),),
    )
    async def post(self, body: OllamaEmbeddingRequest) -> OllamaEmbedding:
        """Return the vector of a text, which is cut if it is too long. Its length is 1. Without a text, the model
        is loaded."""
        if not body.prompt:
            await self.load(body.model)
            return OllamaEmbedding(embedding=[])
        [vector], _ = await self.embedded(body, (body.prompt,), ("prompt",), cut=True)
        return OllamaEmbedding(embedding=vector)

"""POST /rerank and POST /score, by the bodies of vLLM, Jina, Cohere and Text Embeddings Inference."""

import math
import secrets
import time
from collections.abc import Sequence
from operator import mul
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from handlers.openai.sampling import refused
from handlers.openai.vectors import MOST_INPUTS, check_count, check_filled, embed, in_turns, numbers_of
from jan.errors import NotFound, Unavailable
from jan.handler import CollectedAnswer, EmbeddingPrompt, Handler, PairPrompt
from jan.operation import Example, operation
from jan.schema.embeddings import EmbeddingUsage
from jan.schema.scopes import ANONYMOUS_OR_INFERENCE
from jan.schema.scoring import (
    DocumentToRank,
    RankedDocument,
    RankedText,
    RerankRequest,
    RerankResponse,
    RerankResult,
    ScoredBy,
    ScoredPair,
    ScoreRequest,
    ScoreResponse,
    ScoringOptions,
)

_MODEL = "all-minilm-l6-v2"


Places = Sequence[tuple[str, str]]


class Scores(NamedTuple):
    """The scores of pairs, in their order. ``by``: how they were found."""

    scores: list[float]
    by: ScoredBy
    usage: EmbeddingUsage


class ScoringHandler(Handler):
    """The base of both: scores pairs of texts, by a cross-encoder or by the cosine of their vectors."""

    api = "scoring"

    async def scores(self, body: ScoringOptions, model: str, ones: Places, others: Places) -> Scores:
        """Return the score of each pair.

        Args:
            body: the options of the request.
            model: its id or alias.
            ones: places in the request and texts: one for all ``others``, or as many as they are.
            others: places and texts of the other side.

        Raises:
            InvalidRequest: for an empty text, one that is too long, or a model that does neither.
        """
        for place, text in [*ones, *others]:
            check_filled(text, place)
        engine = await self.services.models.engine(model)
        return await (self._of_pairs if engine.info.scores else self._cosines)(body, model, ones, others)

    async def _of_pairs(self, body: ScoringOptions, model: str, ones: Places, others: Places) -> Scores:
        prompt = PairPrompt(
            ones=tuple(text for _, text in ones),
            others=tuple(text for _, text in others),
            named=tuple(place for place, _ in [*ones, *others]),
            longest_one=body.max_tokens_per_query or 0,
            longest_other=body.max_tokens_per_doc or 0,
        )
        answer = await embed(self, model, prompt, truncate=body.truncate_prompt_tokens)
        logits = [number for one in answer.vectors for number in numbers_of(one)]
        found = logits if body.use_activation is False else [_sigmoid(logit) for logit in logits]
        return Scores(found, "cross_encoder", _usage(answer))

    async def _cosines(self, body: ScoringOptions, model: str, ones: Places, others: Places) -> Scores:
        if body.use_activation:
            reason = "This model's scores are cosines of two vectors; allowed: false."
            raise refused("use_activation", reason, code="unsupported_parameter")
        named = [*ones, *others]
        limits = (body.max_tokens_per_query or 0,) * len(ones), (body.max_tokens_per_doc or 0,) * len(others)
        prompt = EmbeddingPrompt(
            inputs=tuple(text for _, text in named),
            named=tuple(place for place, _ in named),
            longest=sum(limits, ()) if any(map(any, limits)) else (),
        )
        answer = await embed(self, model, prompt, truncate=body.truncate_prompt_tokens)
        left = [numbers_of(vector) async for vector in in_turns(answer.vectors[: len(ones)])]
        found: list[float] = []
        async for vector in in_turns(answer.vectors[len(ones) :]):
            found.append(sum(map(mul, left[len(found) % len(left)], numbers_of(vector))))
        return Scores(found, "cosine", _usage(answer))


class Rerank(ScoringHandler):
    """Reranking, compatible with vLLM's, Jina's, Cohere's, and that of Text Embeddings Inference."""

    @operation(
        summary="Order documents by a query",
        access=ANONYMOUS_OR_INFERENCE,
        tag="inference",
        request=RerankRequest,
        response=RerankResponse | list[RankedText],
        limit="inference",
        errors=(NotFound, Unavailable),
        examples=(
            Example(
                summary="Which document is about cats?",
                body={"model": _MODEL, "query": "a cat", "documents": ["A cat sits here.", "Rain falls."]},
            ),
        ),
    )
    async def post(self, body: RerankRequest) -> RerankResponse | list[RankedText]:
        """Return the documents in the order of their nearness to a query. A cross-encoder's score is between 0 and
        1, or its logit if `use_activation` is false. With a model that embeds, the score is the cosine of the
        vectors, as `scored_by` says: it is no probability, and may be negative."""
        name, documents = _documents_of(body)
        model = body.model or self._first_that_scores()
        check_count(documents, name, MOST_INPUTS - 1)
        texts = [one if isinstance(one, str) else one.text for one in documents]
        named = [(f"{name}[{at}]", text) for at, text in enumerate(texts)]
        found = await self.scores(_by_vllm(body), model, [("query", body.query)], named)
        order = sorted(range(len(texts)), key=lambda at: -found.scores[at])[: body.top_n or len(texts)]
        if name == "texts":
            shown = texts if body.return_text else [UNSET] * len(texts)
            return [RankedText(index=at, score=found.scores[at], text=shown[at]) for at in order]
        return RerankResponse(
            id=f"rerank-{secrets.token_hex(12)}",
            model=model,
            scored_by=found.by,
            usage=found.usage,
            results=[
                RerankResult(
                    index=at,
                    relevance_score=found.scores[at],
                    document=None if body.return_documents is False else RankedDocument(text=texts[at]),
                )
                for at in order
            ],
        )

    def _first_that_scores(self) -> str:
        """Return the model of a request that names none: the first cross-encoder, or else one that embeds."""
        infos = [(one.id, one.engine.info) for one in self.services.models if one.loaded]
        scoring = [name for name, info in infos if info.scores] or [name for name, info in infos if info.embeds]
        if not scoring:
            raise refused("model", "The key 'model' is required: no model that is loaded scores texts.")
        return scoring[0]


def _documents_of(body: RerankRequest) -> tuple[str, Sequence[str | DocumentToRank]]:
    """Return the documents and the name of their field. Raises InvalidRequest unless they are there once."""
    given: dict[str, Any] = {"documents": body.documents, "texts": body.texts}
    names = [name for name, value in given.items() if value is not None]
    if len(names) != 1:
        raise refused("texts" if names else "documents", "One of these is needed: documents, texts.")
    only = ("return_text", "raw_scores", "truncate") if names == ["documents"] else ("return_documents",)
    for name in only:
        if getattr(body, name) is not None:
            other = "texts" if names == ["documents"] else "documents"
            raise refused(name, f"It belongs to {other}.", code="unsupported_parameter")
    documents = given[names[0]]
    return names[0], [documents] if isinstance(documents, str) else documents


def _by_vllm(body: RerankRequest) -> RerankRequest:
    """Return a request with the options of Text Embeddings Inference by their other names."""
    changes: dict[str, Any] = {}
    if body.raw_scores is not None and body.use_activation is None:
        changes["use_activation"] = False if body.raw_scores else None
    if body.truncate and body.truncate_prompt_tokens is None:
        changes["truncate_prompt_tokens"] = -1
    return msgspec.structs.replace(body, **changes)


class Score(ScoringHandler):
    """Scores of pairs of texts, compatible with vLLM's."""

    @operation(
        summary="Score pairs of texts",
        access=ANONYMOUS_OR_INFERENCE,
        tag="inference",
        request=ScoreRequest,
        response=ScoreResponse,
        limit="inference",
        errors=(NotFound, Unavailable),
        examples=(
            Example(
                summary="How near are two texts to one?",
                body={"model": _MODEL, "text_1": "a cat", "text_2": ["A cat sits here.", "Rain falls."]},
            ),
        ),
    )
    async def post(self, body: ScoreRequest) -> ScoreResponse:
        """Return how near texts are: one to each of others, or each to the one at its place. `scored_by` says how
        the scores were found: by a cross-encoder, or as cosines of the vectors of a model that embeds."""
        ones, others = (_listed(body, names) for names in (_FIRST, _SECOND))
        if len(ones) not in (1, len(others)):
            raise refused(ones[0][0].partition("[")[0], f"It has {len(ones)} texts; allowed: 1 or {len(others)}.")
        found = await self.scores(body, body.model, ones, others)
        return ScoreResponse(
            id=f"score-{secrets.token_hex(12)}",
            created=int(time.time()),
            model=body.model,
            data=[ScoredPair(index=at, score=score) for at, score in enumerate(found.scores)],
            scored_by=found.by,
            usage=found.usage,
        )


def _usage(answer: CollectedAnswer) -> EmbeddingUsage:
    return EmbeddingUsage(prompt_tokens=answer.prompt_tokens, total_tokens=answer.prompt_tokens)


def _sigmoid(logit: float) -> float:
    return 0.5 * (1 + math.tanh(logit / 2))


_FIRST, _SECOND = ("text_1", "queries", "data_1"), ("text_2", "documents", "items", "data_2")


def _listed(body: ScoreRequest, names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the places and the texts of one side. Raises InvalidRequest unless it is there once."""
    given = [name for name in names if getattr(body, name) is not None]
    if len(given) != 1:
        raise refused(given[1] if given else names[0], f"One of these is needed: {', '.join(names)}.")
    texts: str | list[str] = getattr(body, given[0])
    if isinstance(texts, str):
        return [(given[0], texts)]
    check_count(texts, given[0], MOST_INPUTS // 2)
    return [(f"{given[0]}[{at}]", text) for at, text in enumerate(texts)]

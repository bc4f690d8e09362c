"""POST /rerank and POST /score, by the bodies of vLLM, Jina and Cohere: how near texts are to each other."""

import math
import secrets
import time
from collections.abc import Sequence
from operator import mul
from typing import NamedTuple

from handlers.openai.sampling import refused
from handlers.openai.vectors import MOST_INPUTS, check_count, check_filled, embed, in_turns, numbers_of
from jan.errors import NotFound, Unavailable
from jan.handler import CollectedAnswer, EmbeddingPrompt, Handler, PairPrompt
from jan.operation import Example, operation
from jan.schema.embeddings import EmbeddingUsage
from jan.schema.scopes import ANONYMOUS_OR_INFERENCE
from jan.schema.scoring import (
    RankedDocument,
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

    async def scores(self, body: ScoringOptions, ones: Places, others: Places) -> Scores:
        """Return the score of each pair.

        Args:
            body: the request.
            ones: places in the request and texts: one for all ``others``, or as many as they are.
            others: places and texts of the other side.

        Raises:
            InvalidRequest: for an empty text, one that is too long, or a model that does neither.
        """
        for place, text in [*ones, *others]:
            check_filled(text, place)
        served = self.services.models.get(body.model)
        reads_pairs = served.loaded and served.engine.info.scores
        return await (self._of_pairs if reads_pairs else self._cosines)(body, ones, others)

    async def _of_pairs(self, body: ScoringOptions, ones: Places, others: Places) -> Scores:
        prompt = PairPrompt(
            ones=tuple(text for _, text in ones),
            others=tuple(text for _, text in others),
            named=tuple(place for place, _ in [*ones, *others]),
        )
        answer = await embed(self, body.model, prompt, truncate=body.truncate_prompt_tokens)
        logits = [number for one in answer.vectors for number in numbers_of(one)]
        found = logits if body.use_activation is False else [_sigmoid(logit) for logit in logits]
        return Scores(found, "cross_encoder", _usage(answer))

    async def _cosines(self, body: ScoringOptions, ones: Places, others: Places) -> Scores:
        if body.use_activation:
            reason = "This model's scores are cosines of two vectors; allowed: false."
            raise refused("use_activation", reason, code="unsupported_parameter")
        named = [*ones, *others]
        prompt = EmbeddingPrompt(inputs=tuple(text for _, text in named), named=tuple(place for place, _ in named))
        answer = await embed(self, body.model, prompt, truncate=body.truncate_prompt_tokens)
        left = [numbers_of(vector) async for vector in in_turns(answer.vectors[: len(ones)])]
        found: list[float] = []
        async for vector in in_turns(answer.vectors[len(ones) :]):
            found.append(sum(map(mul, left[len(found) % len(left)], numbers_of(vector))))
        return Scores(found, "cosine", _usage(answer))


class Rerank(ScoringHandler):
    """Reranking, compatible with vLLM's, Jina's and Cohere's."""

    @operation(
        summary="Order documents by a query",
        access=ANONYMOUS_OR_INFERENCE,
        tag="inference",
        request=RerankRequest,
        response=RerankResponse,
        limit="inference",
        errors=(NotFound, Unavailable),
        examples=(
            Example(
                summary="Which document is about cats?",
                body={"model": _MODEL, "query": "a cat", "documents": ["A cat sits here.", "Rain falls."]},
            ),
        ),
    )
    async def post(self, body: RerankRequest) -> RerankResponse:
        """Return the documents in the order of their nearness to a query. A cross-encoder's score is between 0 and
        1, or its logit if `use_activation` is false. With a model that embeds, the score is the cosine of the
        vectors, as `scored_by` says: it is no probability, and may be negative."""
        documents = [body.documents] if isinstance(body.documents, str) else body.documents
        check_count(documents, "documents", MOST_INPUTS - 1)
        texts = [one if isinstance(one, str) else one.text for one in documents]
        named = [(f"documents[{at}]", text) for at, text in enumerate(texts)]
        scores, by, usage = await self.scores(body, [("query", body.query)], named)
        order = sorted(range(len(scores)), key=lambda at: -scores[at])
        return RerankResponse(
            id=f"rerank-{secrets.token_hex(12)}",
            model=body.model,
            scored_by=by,
            usage=usage,
            results=[
                RerankResult(
                    index=at,
                    relevance_score=scores[at],
                    document=None if body.return_documents is False else RankedDocument(text=texts[at]),
                )
                for at in order[: body.top_n or len(order)]
            ],
        )


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
        scores, by, usage = await self.scores(body, ones, others)
        return ScoreResponse(
            id=f"score-{secrets.token_hex(12)}",
            created=int(time.time()),
            model=body.model,
            data=[ScoredPair(index=at, score=score) for at, score in enumerate(scores)],
            scored_by=by,
            usage=usage,
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

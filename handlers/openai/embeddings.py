"""POST /embeddings, as in https://platform.openai.com/docs/api-reference/embeddings/create."""

from base64 import b64encode
from collections.abc import Sequence
from typing import Any, cast

import msgspec

from handlers.openai.sampling import refused
from handlers.openai.vectors import check_count, check_filled, embed, numbers_of
from jan.errors import NotFound, Unavailable
from jan.handler import EmbeddingPrompt, Handler
from jan.operation import Example, operation
from jan.schema.embeddings import Embedding, EmbeddingList, EmbeddingRequest, EmbeddingUsage
from jan.schema.scopes import ANONYMOUS_OR_INFERENCE
from jan.tasks import apart


class Embeddings(Handler):
    """Embeddings, compatible with OpenAI's."""

    api = "openai.embeddings"

    @operation(
        summary="Embed texts",
        access=ANONYMOUS_OR_INFERENCE,
        tag="inference",
        request=EmbeddingRequest,
        response=EmbeddingList,
        limit="inference",
        errors=(NotFound, Unavailable),
        examples=(
            Example(
                summary="Vectors of two texts",
                body={"model": "all-minilm-l6-v2", "input": ["A cat sits on the mat.", "Where is the cat?"]},
            ),
        ),
    )
    async def post(self, body: EmbeddingRequest) -> Any:
        """Return a vector of length 1 for each text. Needs a model that embeds: others answer with the error
        `model_cannot_embed`."""
        prompt = EmbeddingPrompt(
            inputs=inputs_of(body.input),
            dimensions=body.dimensions,
            named=("input",) if _is_one(body.input) else (),
        )
        cut_end = body.truncation_side != "left"
        answer = await embed(self, body.model, prompt, truncate=body.truncate_prompt_tokens, truncate_end=cut_end)
        usage = EmbeddingUsage(prompt_tokens=answer.prompt_tokens, total_tokens=answer.prompt_tokens)
        as_text = body.encoding_format == "base64"

        def encoded() -> msgspec.Raw:
            data = cast(list[Embedding], _entries(answer.vectors, as_text=as_text))
            return msgspec.Raw(msgspec.json.encode(EmbeddingList(data=data, model=body.model, usage=usage)))

        return await apart(len(answer.vectors), encoded)


def inputs_of(given: str | Sequence[str | int | list[int]]) -> tuple[str | tuple[int, ...], ...]:
    """Return the texts of a request. Raises InvalidRequest for an empty one, a mixed list, or too many."""
    if isinstance(given, str):
        check_filled(given, "input")
        return (given,)
    kinds = set(map(type, given))
    if kinds == {int}:
        return (tuple(cast(Sequence[int], given)),)
    check_count(given, "input")
    if len(kinds) > 1:
        raise refused("input", "The list is mixed; allowed: all texts, all tokens, or all lists of tokens.")
    for index, one in enumerate(given):
        check_filled(cast(str | list[int], one), f"input[{index}]")
    return tuple(one if isinstance(one, str) else tuple(cast(list[int], one)) for one in given)


def _is_one(given: str | Sequence[Any]) -> bool:
    return isinstance(given, str) or isinstance(given[0], int)


def _entries(vectors: Sequence[bytes], *, as_text: bool) -> msgspec.Raw:
    """Return a list of vectors as JSON. Between two of them, another thread may run."""
    entries = [
        msgspec.json.encode(
            Embedding(index=index, embedding=b64encode(vector).decode() if as_text else numbers_of(vector))
        )
        for index, vector in enumerate(vectors)
    ]
    return msgspec.Raw(b"[%b]" % b",".join(entries))

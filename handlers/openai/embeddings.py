"""POST /embeddings, as in https://platform.openai.com/docs/api-reference/embeddings/create."""

import asyncio
from array import array
from base64 import b64encode
from collections.abc import Sequence
from sys import byteorder
from typing import Any, cast

import msgspec

from jan.errors import InvalidRequest, NotFound, Unavailable
from jan.handler import EmbeddingPrompt, GenerationRequest, Handler, ModelRequest
from jan.operation import Example, operation
from jan.schema.embeddings import Embedding, EmbeddingList, EmbeddingRequest, EmbeddingUsage
from jan.schema.scopes import ANONYMOUS_OR_INFERENCE

# OpenAI's limit.
_MOST_INPUTS = 2048
# Numbers that are written before other requests have their turn.
_NUMBERS_A_TURN = 1 << 14


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
        if body.truncate_prompt_tokens == 0:
            raise _refused("truncate_prompt_tokens", "Of 0 tokens nothing is left; allowed: -1, or from 1 on.")
        inputs = inputs_of(body.input)
        sequence = GenerationRequest(
            prompt=EmbeddingPrompt(
                inputs=inputs,
                dimensions=body.dimensions,
                named=("input",) if _is_one(body.input) else (),
            ),
            max_tokens=0,
            truncate=body.truncate_prompt_tokens,
            truncate_end=body.truncation_side != "left",
        )
        answers = await self.complete(ModelRequest(model=body.model, sequences=(sequence,)))
        answer = answers.answers[0]
        usage = EmbeddingUsage(prompt_tokens=answer.prompt_tokens, total_tokens=answer.prompt_tokens)
        data = await _encoded(answer.vectors, as_text=body.encoding_format == "base64")
        return EmbeddingList(data=cast(list[Embedding], data), model=body.model, usage=usage)


def inputs_of(given: str | Sequence[str | int | list[int]]) -> tuple[str | tuple[int, ...], ...]:
    """Return the texts of a request. Raises InvalidRequest for an empty one, a mixed list, or too many."""
    if isinstance(given, str):
        _check_filled(given, "input")
        return (given,)
    kinds = set(map(type, given))
    if kinds == {int}:
        return (tuple(cast(Sequence[int], given)),)
    if not 1 <= len(given) <= _MOST_INPUTS:
        raise _refused("input", f"The list has {len(given)} texts; allowed: 1 to {_MOST_INPUTS}.")
    if len(kinds) > 1:
        raise _refused("input", "The list is mixed; allowed: all texts, all tokens, or all lists of tokens.")
    for index, one in enumerate(given):
        _check_filled(cast(str | list[int], one), f"input[{index}]")
    return tuple(one if isinstance(one, str) else tuple(cast(list[int], one)) for one in given)


def _is_one(given: str | Sequence[Any]) -> bool:
    return isinstance(given, str) or isinstance(given[0], int)


def _check_filled(one: str | list[int], named: str) -> None:
    if not one:
        raise _refused(named, "It is empty; allowed: a text, or at least one token.")


async def _encoded(vectors: Sequence[bytes], *, as_text: bool) -> list[msgspec.Raw]:
    """Return the entries of vectors as JSON, written in turns, so that many numbers do not hold up the server."""
    entries: list[msgspec.Raw] = []
    written = 0
    for index, vector in enumerate(vectors):
        embedding = b64encode(vector).decode() if as_text else numbers_of(vector)
        entries.append(msgspec.Raw(msgspec.json.encode(Embedding(index=index, embedding=embedding))))
        written += len(vector) // 4
        if written >= _NUMBERS_A_TURN:
            written = 0
            await asyncio.sleep(0)
    return entries


def numbers_of(vector: bytes) -> list[float]:
    """Return the numbers of little-endian float32."""
    numbers = array("f", vector)
    if byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


def _refused(param: str, reason: str) -> InvalidRequest:
    return InvalidRequest(f"{param}: {reason}", code="invalid_value", param=param)

"""Vectors of texts for the endpoints that embed: asks a model, and reads its answer in turns."""

import asyncio
from array import array
from collections.abc import AsyncIterator, Sequence
from sys import byteorder

from handlers.openai.sampling import refused
from jan.handler import CollectedAnswer, EmbeddingPrompt, GenerationRequest, Handler, ModelRequest, PairPrompt

# OpenAI's limit.
MOST_INPUTS = 2048
# Numbers that are read or written before other requests have their turn.
_NUMBERS_A_TURN = 1 << 14


async def embed(
    handler: Handler,
    model: str,
    prompt: EmbeddingPrompt | PairPrompt,
    *,
    truncate: int | None = None,
    truncate_end: bool = True,
) -> CollectedAnswer:
    """Return a model's answer with the vectors of texts, or the scores of pairs.

    ``truncate``: keep this many tokens of each text; -1: as many as the model takes.

    Raises NotFound for an unknown model, RateLimited, and what the model refuses.
    """
    if truncate == 0:
        raise refused("truncate_prompt_tokens", "Of 0 tokens nothing is left; allowed: -1, or from 1 on.")
    sequence = GenerationRequest(prompt=prompt, max_tokens=0, truncate=truncate, truncate_end=truncate_end)
    answers = await handler.complete(ModelRequest(model=model, sequences=(sequence,)))
    return answers.answers[0]


async def in_turns(vectors: Sequence[bytes]) -> AsyncIterator[bytes]:
    """Yield vectors. Between some of them, other requests have their turn."""
    read = 0
    for vector in vectors:
        yield vector
        read += len(vector) // 4
        if read >= _NUMBERS_A_TURN:
            read = 0
            await asyncio.sleep(0)


def numbers_of(vector: bytes) -> list[float]:
    """Return the numbers of little-endian float32."""
    numbers = array("f", vector)
    if byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


def check_filled(one: str | list[int], named: str) -> None:
    """Raise InvalidRequest for an empty text. ``named``: where it is in the request."""
    if not one:
        raise refused(named, "It is empty; allowed: a text, or at least one token.")


def check_count(texts: Sequence[object], named: str, most: int = MOST_INPUTS) -> None:
    """Raise InvalidRequest for no texts, or too many."""
    if not 1 <= len(texts) <= most:
        raise refused(named, f"The list has {len(texts)} texts; allowed: 1 to {most}.")

"""Tokenise the pairs of texts of a scoring request. Imports no model library."""

from collections.abc import Iterator
from itertools import repeat
from typing import Protocol

from jan.engine.backends.embedding_inputs import TextTokenizer, TokenizedInputs, most_tokens, tokens_of
from jan.engine.base import GenerationRequest, PairPrompt
from jan.engine.runtime.capacity import input_too_long


class PairTokenizer(TextTokenizer, Protocol):
    """The vocabulary of a model that scores pairs. ``begin``, ``between``, ``end``: the tokens that belong before,
    between and after the two texts."""

    begin: list[int]
    between: list[int]
    end: list[int]


def tokenize_pairs(request: GenerationRequest, model: PairTokenizer, context_length: int) -> TokenizedInputs:
    """Tokenise the pairs of a request. Thread-safe.

    Raises InvalidRequest if one has more than ``context_length`` tokens.
    """
    prompt = request.prompt
    assert isinstance(prompt, PairPrompt)  # ``check_capabilities`` has seen to it
    around = len(model.begin) + len(model.between) + len(model.end)
    most = most_tokens(request, context_length)
    room = None if most is not None else context_length - around
    limits = [prompt.longest_one] * len(prompt.ones) + [prompt.longest_other] * len(prompt.others)
    read = [
        tokens_of(model, text, named, room=room, around=around, longest=longest)
        for text, named, longest in zip([*prompt.ones, *prompt.others], prompt.named, limits, strict=True)
    ]
    inputs = []
    for one, other, named in _pairs(prompt, read):
        if most is None and len(one) + len(other) + around > context_length:
            found = str(len(one) + len(other) + around)
            raise input_too_long(named, found, context_length, of="this pair of texts has")
        first, second = (one, other) if most is None else _cut(one, other, max(0, most - around))
        inputs.append([*model.begin, *first, *model.between, *second, *model.end])
    return TokenizedInputs(inputs, None)


def _pairs(prompt: PairPrompt, read: list[list[int]]) -> Iterator[tuple[list[int], list[int], str]]:
    """Return the tokens of each pair, and where its second text is in the request."""
    ones, others = read[: len(prompt.ones)], read[len(prompt.ones) :]
    named = prompt.named[len(prompt.ones) :]
    return zip(repeat(ones[0], len(others)) if len(ones) == 1 else ones, others, named, strict=True)


def _cut(one: list[int], other: list[int], most: int) -> tuple[list[int], list[int]]:
    """Return the beginnings of both, with ``most`` tokens in all: the longer one is cut first (``longest_first``
    of Hugging Face's tokenizers)."""
    if len(one) + len(other) <= most:
        return one, other
    shorter = min(len(one), len(other), most // 2)
    if len(one) > len(other):
        return one[: most - shorter], other[:shorter]
    return one[:shorter], other[: most - shorter]

"""Tokenise the pairs of texts of a scoring request. Imports no model library."""

from collections.abc import Iterator
from itertools import repeat
from typing import Protocol

from jan.engine.backends.embedding_inputs import TokenizedInputs
from jan.engine.base import GenerationRequest, PairPrompt
from jan.engine.prompts.tokenizing import PromptTooLong
from jan.engine.runtime.capacity import input_too_long

# Room for a text that is cut afterwards: more than any body holds.
_NO_LIMIT = 2**31


class PairTokenizer(Protocol):
    """The vocabulary of a model that scores pairs. ``begin``, ``between``, ``end``: the tokens that belong before,
    between and after the two texts."""

    begin: list[int]
    between: list[int]
    end: list[int]

    def tokens_of_text(self, text: str, room: int) -> list[int]:
        """Return the token ids of a text alone. Raises PromptTooLong if there are more than ``room``."""
        ...


def tokenize_pairs(request: GenerationRequest, model: PairTokenizer, context_length: int) -> TokenizedInputs:
    """Tokenise the pairs of a request. Thread-safe.

    Raises InvalidRequest if one has more than ``context_length`` tokens.
    """
    prompt = request.prompt
    assert isinstance(prompt, PairPrompt)  # ``check_capabilities`` has seen to it
    around = len(model.begin) + len(model.between) + len(model.end)
    room = context_length - around
    cuts = request.truncate is not None
    texts = [*prompt.ones, *prompt.others]
    read = [
        _tokens(model, text, named, _NO_LIMIT if cuts else room, context_length)
        for text, named in zip(texts, prompt.named, strict=True)
    ]
    inputs = []
    for one, other, named in _pairs(prompt, read):
        if not cuts and len(one) + len(other) > room:
            found = str(len(one) + len(other) + around)
            raise input_too_long(named, found, context_length, of="this pair of texts has")
        if request.truncate is not None:
            most = room if request.truncate < 0 else max(0, min(request.truncate - around, room))
            one, other = _cut(one, other, most)
        inputs.append([*model.begin, *one, *model.between, *other, *model.end])
    return TokenizedInputs(inputs, None)


def _tokens(model: PairTokenizer, text: str, named: str, room: int, context_length: int) -> list[int]:
    try:
        return model.tokens_of_text(text, room)
    except PromptTooLong as error:
        raise input_too_long(named, str(error), context_length) from None


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

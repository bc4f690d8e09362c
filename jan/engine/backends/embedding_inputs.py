"""Tokenise and check the texts of an embedding request. Imports no model library."""

from typing import Protocol

import msgspec

from jan.engine.base import EmbeddingPrompt, GenerationRequest
from jan.engine.prompts.tokenizing import PromptTooLong
from jan.engine.runtime.capacity import input_too_long
from jan.errors import InvalidRequest

# Room for a text that is cut afterwards: more than any body holds.
_NO_LIMIT = 2**31


class TextTokenizer(Protocol):
    """The vocabulary of a model."""

    def tokens_of_text(self, text: str, room: int) -> list[int]:
        """Return the token ids of a text alone. Raises PromptTooLong if there are more than ``room``."""
        ...


class EmbeddingTokenizer(TextTokenizer, Protocol):
    """The vocabulary of a model that embeds. ``begin``, ``end``: the tokens that belong around every text."""

    begin: list[int]
    end: list[int]
    pieces: list[bytes]


class TokenizedInputs(msgspec.Struct, frozen=True):
    """The tokens of a request's texts, ready to begin. Nothing is generated, so ``limit`` is 0."""

    inputs: list[list[int]]
    dimensions: int | None
    limit: int = 0
    prompt_text: str = ""

    @property
    def prompt_tokens(self) -> int:
        """Length of all texts in tokens."""
        return sum(map(len, self.inputs))


def tokenize_inputs(request: GenerationRequest, model: EmbeddingTokenizer, context_length: int) -> TokenizedInputs:
    """Tokenise the texts of a request. Thread-safe.

    Raises InvalidRequest if one has more than ``context_length`` tokens, or ids of tokens that are not there.
    """
    prompt = request.prompt
    assert isinstance(prompt, EmbeddingPrompt)  # ``check_capabilities`` has seen to it
    around = len(model.begin) + len(model.end)
    most = most_tokens(request, context_length)
    inputs = []
    for index, given in enumerate(prompt.inputs):
        named = prompt.name_of(index)
        if isinstance(given, str):
            longest = prompt.longest[index] if prompt.longest else 0
            room = None if most is not None else context_length - around
            tokens = tokens_of(model, given, named, room=room, around=around, longest=longest)
            tokens = [*model.begin, *_cut(tokens, request, most, around), *model.end]
        else:
            tokens = _cut(list(given), request, most, 0)
            _check_tokens(tokens, named, len(model.pieces), context_length)
        inputs.append(tokens)
    return TokenizedInputs(inputs, prompt.dimensions)


def most_tokens(request: GenerationRequest, context_length: int) -> int | None:
    """Return the most tokens that a request keeps of a text, with the special ones; None: it cuts nothing.

    Raises InvalidRequest for more than the model takes.
    """
    if request.truncate is None:
        return None
    if request.truncate > context_length:
        message = (
            f"truncate_prompt_tokens: It is {request.truncate}, which is more than this model's context of "
            f"{context_length} tokens. Please request a smaller truncation size."
        )
        raise InvalidRequest(message, param="truncate_prompt_tokens")
    return context_length if request.truncate < 0 else request.truncate


def tokens_of(
    model: TextTokenizer, text: str, named: str, *, room: int | None, around: int, longest: int = 0
) -> list[int]:
    """Return the token ids of a text without special tokens. Thread-safe.

    Args:
        model: the vocabulary.
        text: what is tokenised.
        named: where it is in the request.
        room: most tokens of it; None: it is cut afterwards.
        around: special tokens that come to it.
        longest: keep this many tokens; 0: all.

    Raises:
        InvalidRequest: if more tokens are kept than there is room for.
    """
    limit = _NO_LIMIT if room is None or longest else room
    try:
        tokens = model.tokens_of_text(text, limit)
    except PromptTooLong as error:
        raise input_too_long(named, str(error), limit + around, around=around) from None
    if longest:
        tokens = tokens[:longest]
        if room is not None and len(tokens) > room:
            raise input_too_long(named, str(len(tokens)), room + around, around=around)
    return tokens


def _cut(tokens: list[int], request: GenerationRequest, most: int | None, around: int) -> list[int]:
    if most is None:
        return tokens
    kept = max(0, most - around)
    return tokens[:kept] if request.truncate_end else tokens[max(0, len(tokens) - kept) :]


def _check_tokens(tokens: list[int], named: str, size: int, context_length: int) -> None:
    if len(tokens) > context_length:
        raise input_too_long(named, str(len(tokens)), context_length)
    if (largest := max(tokens)) >= size:
        allowed = f"Token ids must be below {size}, the size of this model's vocabulary"
        raise InvalidRequest(f"{named}: {allowed}. Token {largest} is out of vocabulary.", param=named)

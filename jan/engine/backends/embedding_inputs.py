"""Tokenise and check the texts of an embedding request. Imports no model library."""

from typing import Protocol

import msgspec

from jan.engine.base import EmbeddingPrompt, GenerationRequest
from jan.engine.prompts.tokenizing import PromptTooLong
from jan.engine.runtime.capacity import input_too_long
from jan.errors import InvalidRequest

# Room for a text that is cut afterwards: more than any body holds.
_NO_LIMIT = 2**31


class EmbeddingTokenizer(Protocol):
    """The vocabulary of a model that embeds. ``begin``, ``end``: the tokens that belong around every text."""

    begin: list[int]
    end: list[int]
    pieces: list[bytes]

    def tokens_of_text(self, text: str, room: int) -> list[int]:
        """Return the token ids of a text alone. Raises PromptTooLong if there are more than ``room``."""
        ...


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
    inputs = []
    for index, given in enumerate(prompt.inputs):
        named = prompt.name_of(index)
        room = context_length - around if request.truncate is None else _NO_LIMIT
        if isinstance(given, str):
            try:
                tokens = model.tokens_of_text(given, room)
            except PromptTooLong as error:
                more = f", {around} special ones not counted" if around else ""
                raise input_too_long(named, f"{error}{more}", context_length) from None
            tokens = [*model.begin, *_cut(tokens, request, context_length - around), *model.end]
        else:
            tokens = _cut(list(given), request, context_length)
            _check_tokens(tokens, named, len(model.pieces), context_length)
        inputs.append(tokens)
    return TokenizedInputs(inputs, prompt.dimensions)


def _cut(tokens: list[int], request: GenerationRequest, room: int) -> list[int]:
    if request.truncate is None:
        return tokens
    most = room if request.truncate < 0 else min(request.truncate, room)
    return tokens[:most] if request.truncate_end else tokens[max(0, len(tokens) - most) :]


def _check_tokens(tokens: list[int], named: str, size: int, context_length: int) -> None:
    if len(tokens) > context_length:
        raise input_too_long(named, str(len(tokens)), context_length)
    if (largest := max(tokens)) >= size:
        allowed = f"Token ids must be below {size}, the size of this model's vocabulary"
        raise InvalidRequest(f"{named}: {allowed}. Token {largest} is out of vocabulary.", param=named)

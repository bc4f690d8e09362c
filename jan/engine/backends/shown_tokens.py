"""The tokens of an answer as its client sees them: control tokens left out, ids reported."""

import json
from typing import Protocol

import msgspec

from jan.engine.base import Delta, GenerationRequest, Output
from jan.engine.prompts.dialects import PLAIN, Dialect
from jan.schema.sampling import TokenLogprob


class ControlTokens(Protocol):
    """The part of a model's vocabulary that is needed here. ``control_tokens``: ids of tokens that are no text."""

    pieces: list[bytes]
    control_tokens: list[int]


def visible_pieces(request: GenerationRequest, dialect: Dialect, model: ControlTokens) -> list[bytes]:
    """Return the text of each token as an answer shows it: without control tokens if the request wants that.

    Those that the dialect's marks are made of stay, because reasoning and tool calls are read by them.
    """
    if not request.skip_special:
        return model.pieces
    marks = "" if dialect == PLAIN else json.dumps(msgspec.to_builtins([dialect.calls, dialect.thoughts]))
    pieces = list(model.pieces)
    for token in model.control_tokens:
        if json.dumps(model.pieces[token].decode(errors="replace"))[1:-1] not in marks:
            pieces[token] = b""
    return pieces


def with_token_id(outputs: list[Output], token: int) -> list[Output]:
    """Return the outputs of a token with its id."""
    first = outputs[0]
    if not isinstance(first, Delta):
        return outputs
    return [msgspec.structs.replace(first, token_ids=(token,)), *outputs[1:]]


def with_end_token(outputs: list[Output], token: int, logprob: TokenLogprob | None) -> list[Output]:
    """Return the outputs of an answer's end, and before the last one the token that ended it: it has an id but no
    text (as in vLLM)."""
    shown = Delta(token_ids=(token,), logprobs=() if logprob is None else (logprob,))
    return [*outputs[:-1], shown, outputs[-1]]

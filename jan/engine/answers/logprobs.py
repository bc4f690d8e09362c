"""Compute log probabilities from a model's logits."""

from typing import Any

import numpy
from msgspec import UNSET

from jan.schema.sampling import TokenLogprob, TopLogprob


def token_logprob(
    logits: "numpy.ndarray[Any, Any]", token: int, top: int, pieces: list[bytes], *, ids: bool = False
) -> TokenLogprob:
    """Return a token's log probability (natural logarithm) under the softmax of the logits.

    Args:
        logits: float32 [vocab].
        token: id of the token.
        top: number of likeliest tokens to return with it.
        pieces: the bytes of each token, by token id.
        ids: return token ids and the rank too.
    """
    highest = logits.max()  # subtracted, so that exp does not overflow
    logprobs = logits - highest - numpy.log(numpy.exp(logits - highest).sum())
    likeliest = _likeliest(logprobs, top)
    return TokenLogprob(
        token=pieces[token].decode(errors="replace"),
        logprob=float(logprobs[token]),
        bytes=list(pieces[token]),
        token_id=token if ids else UNSET,
        rank=int((logprobs > logprobs[token]).sum()) + 1 if ids else UNSET,
        top_logprobs=[
            TopLogprob(
                token=pieces[at].decode(errors="replace"),
                logprob=float(logprobs[at]),
                bytes=list(pieces[at]),
                token_id=at if ids else UNSET,
            )
            for at in likeliest
        ],
    )


def _likeliest(logprobs: "numpy.ndarray[Any, Any]", top: int) -> list[int]:
    """Return the ids of the likeliest tokens in descending order. Sorting the whole vocabulary would take
    longer.
    """
    if not top:
        return []
    some = numpy.argpartition(-logprobs, min(top, len(logprobs) - 1))[:top]
    ids: list[int] = some[numpy.argsort(-logprobs[some], kind="stable")].tolist()
    return ids


def first_token(token: int, pieces: list[bytes]) -> TokenLogprob:
    """Return a prompt's first token, which has no log probability; 0 stands in its place."""
    piece = pieces[token]
    return TokenLogprob(token=piece.decode(errors="replace"), logprob=0.0, bytes=list(piece), token_id=token)

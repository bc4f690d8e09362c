"""Compute log probabilities from a model's logits."""

from typing import Any

import numpy

from jan.schema.sampling import TokenLogprob, TopLogprob


def token_logprob(logits: "numpy.ndarray[Any, Any]", token: int, top: int, pieces: list[bytes]) -> TokenLogprob:
    """Return a token's log probability (natural logarithm) under the softmax of the logits.

    Args:
        logits: float32 [vocab].
        token: id of the token.
        top: number of likeliest tokens to return with it.
        pieces: the bytes of each token, by token id.
    """
    highest = logits.max()  # subtracted, so that exp does not overflow
    logprobs = logits - highest - numpy.log(numpy.exp(logits - highest).sum())
    likeliest = numpy.argsort(-logprobs)[:top].tolist() if top else []
    return TokenLogprob(
        token=pieces[token].decode(errors="replace"),
        logprob=float(logprobs[token]),
        bytes=list(pieces[token]),
        top_logprobs=[
            TopLogprob(
                token=pieces[at].decode(errors="replace"), logprob=float(logprobs[at]), bytes=list(pieces[at])
            )
            for at in likeliest
        ],
    )

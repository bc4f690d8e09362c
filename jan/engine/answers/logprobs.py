"""Log probabilities from a model's logits."""

from typing import Any

import numpy

from jan.schema.sampling import TokenLogprob, TopLogprob


def token_logprob(logits: "numpy.ndarray[Any, Any]", token: int, top: int, pieces: list[bytes]) -> TokenLogprob:
    """Natural-log probability of a token under the logits' distribution, with the ``top`` likeliest."""
    highest = logits.max()
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

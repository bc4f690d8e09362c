"""Log probabilities of a prompt's own tokens, computed while the prompt is."""

from collections.abc import Sequence
from typing import Any

from jan.engine.answers.logprobs import first_token
from jan.engine.backends.llamacpp.sampler import logprob_of
from jan.schema.sampling import TokenLogprob

#: Most tokens of such a prompt in one step: each takes about 2 ms of Python, and other answers wait.
TOKENS_A_STEP = 16


class PromptScores:
    """The scores of one prompt.

    - ``tokens``: the prompt. ``top``: number of likeliest tokens to return with each. ``pieces``: by token id.
    """

    def __init__(self, tokens: Sequence[int], top: int, pieces: list[bytes]) -> None:
        self._tokens = tokens
        self._top = top
        self._pieces = pieces
        self._scores = [first_token(tokens[0], pieces)]
        # The place in the batch, and in the prompt, of each token whose logits are wanted.
        self._wanted: list[tuple[int, int]] = []

    def want(self, index: int, position: int) -> None:
        """Note that the batch's logits at ``index`` are those after the prompt's token at ``position``."""
        if position + 1 < len(self._tokens):
            self._wanted.append((index, position))

    def read(self, context: Any) -> None:
        """Score the tokens whose logits have been computed."""
        for index, position in self._wanted:
            following = self._tokens[position + 1]
            self._scores.append(logprob_of(context, index, following, self._top, self._pieces, ids=True))
        self._wanted.clear()

    def take(self) -> tuple[TokenLogprob, ...]:
        """Return the scores of all tokens once, when they are complete; () before and after."""
        if len(self._scores) < len(self._tokens):
            return ()
        taken, self._tokens = tuple(self._scores), ()
        return taken

"""Bans and penalties of one answer that depend on its tokens: the same for every engine that samples tokens."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy

from jan.engine.base import GenerationRequest, Sampling
from jan.errors import InvalidRequest

#: The bias of a banned token: no logit outweighs it. It is finite, so that a format that leaves nothing else wins.
BAN = -1000.0
# Most tokens of a repetition that DRY looks at. Penalties of longer ones are beyond all logits anyway.
_LONGEST_REPETITION = 64
_HIGHEST_PENALTY = 10_000.0


class Pieces(Protocol):
    """The part of a model's vocabulary that rules need. ``pieces``: the bytes of each token, by token id."""

    pieces: list[bytes]
    stop_tokens: frozenset[int]

    def tokenize_plain(self, text: str) -> list[int]:
        """Return the token ids of a text that spells no control tokens, without a begin token."""
        ...


class TokenRules:
    """The bans and penalties of one answer.

    Usage::

        biases = rules.next_biases()  # added to the logits of the next token
        rules.take(token)

    - ``bias``: added to the logits of every token, by token id. ``allowed``: the only tokens allowed; empty: all.
    - ``stop_tokens``: the tokens that end the answer.
    - ``changes``: True if ``next_biases`` may return any.
    """

    def __init__(self, request: GenerationRequest, prompt: Sequence[int], limit: int, model: Pieces) -> None:
        self.sampling = request.sampling
        self.allowed = request.allowed_tokens
        own_ends = frozenset() if request.ignore_eos else model.stop_tokens
        self.stop_tokens = own_ends | frozenset(request.stop_tokens)
        self._min_tokens = request.min_tokens
        spelled = _spellings(request.bad_words, model)
        self._banned = tuple(tokens for tokens in spelled if len(tokens) > 1)
        self.bias = dict(request.sampling.logit_bias)
        self.bias |= {tokens[0]: BAN for tokens in spelled if len(tokens) == 1}
        if request.ignore_eos:
            self.bias |= dict.fromkeys(model.stop_tokens - self.stop_tokens, BAN)
        self._dry = _Dry(request.sampling, prompt, limit, model.pieces) if request.sampling.dries else None
        self._answer: list[int] = []

    @property
    def changes(self) -> bool:
        """True if the next token's biases depend on the tokens before."""
        return bool(self._banned) or self._dry is not None or len(self._answer) < self._min_tokens

    def next_biases(self) -> dict[int, float]:
        """Return the biases of the next token beside ``bias``, by token id."""
        biases: dict[int, float] = {} if self._dry is None else self._dry.penalties()
        if len(self._answer) < self._min_tokens:
            biases |= dict.fromkeys(self.stop_tokens, BAN)
        for tokens in self._banned:
            if self._answer[-len(tokens) + 1 :] == tokens[:-1]:
                biases[tokens[-1]] = BAN
        return biases

    def take(self, token: int) -> None:
        """Add a token to the answer."""
        self._answer.append(token)
        if self._dry is not None:
            self._dry.take(token)


def _spellings(words: Sequence[str], model: Pieces) -> list[list[int]]:
    """Return the token sequences that spell the words, each at the beginning of a text and after a space."""
    texts = [text for word in words for text in (word, f" {word.lstrip()}")]
    return [tokens for tokens in map(model.tokenize_plain, dict.fromkeys(texts)) if tokens]


class _Dry:
    """DRY: a token that would continue a repetition is less likely, the longer the repetition is.

    The formula is that of text-generation-webui, pull request 5677: the last tokens of the text also stood
    earlier; a token that followed them there gets the penalty multiplier * base ** (length - allowed length),
    where length is the longest such repetition. Texts that break sequences end the search.
    """

    def __init__(self, sampling: Sampling, prompt: Sequence[int], limit: int, pieces: Sequence[bytes]) -> None:
        self._sampling = sampling
        self._pieces = pieces
        self._breakers = tuple(text.encode() for text in sampling.dry_sequence_breakers)
        self._tokens = numpy.empty(len(prompt) + limit + 1, dtype=numpy.int32)
        self._tokens[: len(prompt)] = prompt
        self._length = len(prompt)

    def take(self, token: int) -> None:
        """Add a token to the text."""
        if self._length < len(self._tokens):
            self._tokens[self._length] = token
            self._length += 1

    def penalties(self) -> dict[int, float]:
        """Return the penalties of the next token, as negative biases by token id."""
        window = self._sampling.dry_penalty_last_n
        text = self._tokens[max(0, self._length - window) if window >= 0 else 0 : self._length]
        lengths = repetitions(text, self._unbroken(text))
        return {
            token: -min(self._penalty(length), _HIGHEST_PENALTY)
            for token, length in lengths.items()
            if length >= self._sampling.dry_allowed_length
        }

    def _penalty(self, length: int) -> float:
        return self._sampling.dry_multiplier * self._sampling.dry_base ** (
            length - self._sampling.dry_allowed_length
        )

    def _unbroken(self, text: "numpy.ndarray[Any, Any]") -> int:
        """Return how many of the last tokens come after the last text that breaks sequences."""
        joined = b""
        most = min(len(text), _LONGEST_REPETITION)
        for count in range(most):
            joined = self._pieces[text[-1 - count]] + joined
            ends = [joined.rfind(breaker) + len(breaker) for breaker in self._breakers if breaker in joined]
            if ends:
                return _tokens_after(joined, max(ends), [len(self._pieces[one]) for one in text[-1 - count :]])
        return most


def _tokens_after(text: bytes, end: int, sizes: list[int]) -> int:
    """Return how many of the last tokens, with these sizes in bytes, lie wholly after a place in their text."""
    rest, count = len(text) - end, 0
    for size in reversed(sizes):
        rest -= size
        if rest < 0:
            return count
        count += 1
    return count


def repetitions(text: "numpy.ndarray[Any, Any]", most: int) -> Mapping[int, int]:
    """Return the tokens that followed earlier repetitions of the text's end, each with the longest repetition.

    Args:
        text: int32 [tokens].
        most: longest repetition to look for, in tokens.
    """
    if most < 1:
        return {}
    lengths: dict[int, int] = {}
    ends = numpy.flatnonzero(text[:-1] == text[-1])
    for length in range(1, most + 1):
        if not len(ends):
            break
        # Longer repetitions come later, and overwrite shorter ones.
        lengths |= dict.fromkeys(text[ends + 1].tolist(), length)
        ends = ends[ends >= length]
        ends = ends[text[ends - length] == text[-1 - length]] if length < len(text) else ends[:0]
    return lengths


def check_token_ids(request: GenerationRequest, vocabulary: int) -> None:
    """Check the token ids of a request. Raises InvalidRequest for those that the model's vocabulary lacks."""
    for name, ids in (
        ("logit_bias", request.sampling.logit_bias),
        ("stop_token_ids", request.stop_tokens),
        ("allowed_token_ids", request.allowed_tokens),
    ):
        if max(ids, default=0) >= vocabulary:
            wrong = ", ".join(str(token) for token in ids if token >= vocabulary)
            raise InvalidRequest(
                f"{name}: Token ids must be below {vocabulary}, the size of this model's vocabulary. "
                f"Wrong: {wrong[:100]}.",
                param=name,
            )


def rules_of(request: GenerationRequest, prompt: Sequence[int], limit: int, model: Pieces) -> TokenRules:
    """Return the rules of a request's answer."""
    check_token_ids(request, len(model.pieces))
    rules = TokenRules(request, prompt, limit, model)
    _check_some_left(request, rules)
    return rules


def _check_some_left(request: GenerationRequest, rules: TokenRules) -> None:
    """Raise InvalidRequest if every token of ``allowed_token_ids`` is forbidden by another parameter."""
    allowed = frozenset(request.allowed_tokens)
    if not allowed:
        return
    banned = {token for token, bias in rules.bias.items() if bias <= BAN}
    early_ends = rules.stop_tokens if request.min_tokens else frozenset[int]()
    if allowed <= banned | early_ends:
        own = {token for token, bias in request.sampling.logit_bias.items() if bias <= BAN}
        reasons = {
            "banned_tokens": bool(allowed & own),
            "bad_words": bool(request.bad_words and allowed & banned - own),
            "ignore_eos": request.ignore_eos and bool(allowed & banned - own),
            "min_tokens": bool(allowed & early_ends),
        }
        others = " and ".join(name for name, forbids in reasons.items() if forbids)
        raise InvalidRequest(
            f"allowed_token_ids: All of these tokens are forbidden by {others}, so none is left.",
            param="allowed_token_ids",
        )

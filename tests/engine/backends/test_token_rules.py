"""Bans and penalties by their formulas, without a model."""

from types import SimpleNamespace
from typing import Any, cast

import numpy
import pytest

from jan.engine.backends.token_rules import BAN, Pieces, TokenRules, repetitions
from jan.engine.base import GenerationRequest, Sampling, TextPrompt

PIECES = [b"<end>", b"a", b"b", b"c", b"\n", b" a", b"x:", b"d"]
END, A, B, C, LINE, SPACE_A, COLON, D = range(8)


def rules(prompt: list[int], sampling: Sampling | None = None, **asked: Any) -> TokenRules:
    spelled = {piece.decode(): number for number, piece in enumerate(PIECES)}

    def tokenize(text: str) -> list[int]:
        head = [spelled[text[:2]]] if text[:2] in spelled and text[:1] == " " else []
        return head + [spelled[letter] for letter in text[2 * len(head) :] if letter in spelled]

    model = cast(Pieces, SimpleNamespace(pieces=PIECES, stop_tokens=frozenset({END}), tokenize_plain=tokenize))
    request = GenerationRequest(prompt=TextPrompt(""), sampling=sampling or Sampling(), **asked)
    return TokenRules(request, prompt, 50, model)


def slow_repetitions(text: list[int], most: int) -> dict[int, int]:
    """The same by the definition: for each earlier place, how far back it equals the end."""
    found: dict[int, int] = {}
    for place in range(len(text) - 1):
        length = 0
        while length < min(most, place + 1) and text[place - length] == text[len(text) - 1 - length]:
            length += 1
        if length:
            found[text[place + 1]] = max(found.get(text[place + 1], 0), length)
    return found


@pytest.mark.parametrize("seed", range(20))
def test_repetitions_are_those_of_the_definition(seed: int) -> None:
    """Texts of few different tokens, which repeat themselves a lot, at all lengths."""
    draw = numpy.random.default_rng(seed)
    text = draw.integers(1, 4, size=int(draw.integers(2, 40))).astype(numpy.int32)
    for most in (1, 3, 64):
        assert dict(repetitions(text, most)) == slow_repetitions(text.tolist(), most)


@pytest.mark.parametrize(
    ("prompt", "options", "expected"),
    [
        ([A, B, C, A, B], {}, {C: -0.5}),
        ([A, B, C, A, B], {"dry_allowed_length": 1}, {C: -1.0}),
        ([D, A, B, C, D, A, B], {}, {C: -1.0}),
        ([A, B, C, A, B], {"dry_allowed_length": 3}, {}),
        ([D, A, B, C, D, A, B], {"dry_penalty_last_n": 6}, {C: -0.5}),
        ([A, B, C, A, B], {"dry_penalty_last_n": 4}, {}),
        # A line break ends the repetition in which it stands.
        ([D, LINE, B, C, D, LINE, B], {"dry_allowed_length": 1}, {C: -0.5}),
        ([D, LINE, B, C, D, LINE, B], {"dry_allowed_length": 1, "dry_sequence_breakers": ()}, {C: -2.0}),
        # A token that ends with a breaker breaks too; so does a text of two tokens.
        ([COLON, B, C, COLON, B], {}, {}),
        ([A, B, D, C, A, B, D], {"dry_sequence_breakers": ("ab",), "dry_allowed_length": 1}, {C: -0.5}),
    ],
)
def test_dry_penalties(prompt: list[int], options: dict[str, Any], expected: dict[int, float]) -> None:
    """multiplier * base ** (length - allowed length), for the token that continued it before."""
    sampling = Sampling(dry_multiplier=0.5, dry_base=2.0, **options)
    assert rules(prompt, sampling).next_biases() == expected


def test_dry_counts_the_answer_too() -> None:
    """Each new token can begin and continue a repetition."""
    made = rules([A, B, C], Sampling(dry_multiplier=1.0, dry_base=2.0))
    assert made.next_biases() == {}
    made.take(A)
    made.take(B)
    assert made.next_biases() == {C: -1.0}


def test_a_bad_word_is_banned_where_it_would_be_complete() -> None:
    """A word of one token always, one of several only after its beginning, with and without a space before."""
    made = rules([], bad_words=("d", "abc"))
    assert made.bias == {D: BAN}
    assert made.next_biases() == {}
    for token in (C, SPACE_A, B):
        made.take(token)
    assert made.next_biases() == {C: BAN}


def test_stop_tokens_are_banned_before_the_least_length() -> None:
    """Both the model's own and the request's; afterwards nothing is watched any more."""
    made = rules([], min_tokens=2, stop_tokens=(C,))
    assert made.stop_tokens == {END, C}
    for _ in range(2):
        assert made.next_biases() == {END: BAN, C: BAN}
        made.take(A)
    assert made.next_biases() == {}
    assert not made.changes


def test_ignored_end_tokens_are_banned_for_good() -> None:
    """Unless the request names one as a stop token of its own."""
    assert rules([], ignore_eos=True).bias == {END: BAN}
    assert rules([], ignore_eos=True).stop_tokens == frozenset()
    named = rules([], ignore_eos=True, stop_tokens=(END,))
    assert (named.bias, named.stop_tokens) == ({}, {END})

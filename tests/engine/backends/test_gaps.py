"""Prompts with a gap, and prompts that are cut, without a model."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from jan.engine.backends.common import ModelTokenizer, tokenize_prompt
from jan.engine.base import GenerationRequest, ModelInfo, TextPrompt, TokenPrompt
from jan.engine.runtime.capacity import check_capabilities
from jan.errors import InvalidRequest

BEGIN, PREFIX, SUFFIX, MIDDLE = 1, 2, 3, 4


def tokens(prompt: TextPrompt | TokenPrompt, context: int = 32, **asked: Any) -> list[int]:
    """The tokens of a prompt; those of a text are the numbers of its letters."""

    def letters(text: str) -> list[int]:
        return [ord(letter) for letter in text]

    model = SimpleNamespace(
        pieces=[b"x"] * 200,
        fill_tokens=(PREFIX, SUFFIX, MIDDLE),
        begin_token=BEGIN,
        tokenize=lambda text, room: [BEGIN, *letters(text)],
        tokenize_plain=letters,
    )
    request = GenerationRequest(prompt=prompt, **asked)
    return tokenize_prompt(request, cast(ModelTokenizer, model), context).tokens


def test_the_text_before_and_after_a_gap() -> None:
    """Prefix, suffix and middle, each after its own token, and the begin token first."""
    assert tokens(TextPrompt("ab", suffix="c")) == [BEGIN, PREFIX, 97, 98, SUFFIX, 99, MIDDLE]
    with pytest.raises(InvalidRequest, match="7 tokens") as refused:
        tokens(TextPrompt("ab", suffix="c"), context=7)
    assert refused.value.code == "context_length_exceeded"


def test_a_model_that_can_not_fill_in_says_so() -> None:
    """Before anything is tokenised."""
    request = GenerationRequest(prompt=TextPrompt("ab", suffix="c"))
    with pytest.raises(InvalidRequest, match="not trained to fill in"):
        check_capabilities(ModelInfo(context_length=9), request)
    check_capabilities(ModelInfo(context_length=9, fills_in=True), request)


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ({"truncate": 2}, [8, 9]),
        ({"truncate": 2, "truncate_end": True}, [5, 6]),
        ({"truncate": 9}, [5, 6, 7, 8, 9]),
        ({"truncate": 0}, [BEGIN]),
        ({"truncate": -1, "max_tokens": 3}, [7, 8, 9]),
        ({"truncate": -1}, [5, 6, 7, 8, 9]),
    ],
    ids=str,
)
def test_a_prompt_is_cut_as_asked(asked: dict[str, Any], kept: list[int]) -> None:
    """The last tokens stay, or the first ones; -1 leaves room for the answer in a context of 6 tokens."""
    assert tokens(TokenPrompt((5, 6, 7, 8, 9)), context=6, **asked) == kept

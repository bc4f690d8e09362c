"""Text is released in whole characters, and never a stop string."""

import itertools

import pytest

from jan.engine.answers.text import TextAssembler
from jan.schema.sampling import TokenLogprob


def run(pieces: list[bytes], stop: tuple[str, ...] = ()) -> tuple[list[str], bool]:
    assembler = TextAssembler(stop)
    texts = []
    for piece in pieces:
        texts.append(assembler.push(piece)[0])
        if assembler.stopped:
            return texts, True
    texts.append(assembler.flush()[0])
    return texts, False


def splits(data: bytes) -> list[list[bytes]]:
    """Yield all splits of data into three parts."""
    ends = itertools.combinations_with_replacement(range(len(data) + 1), 2)
    return [[data[:a], data[a:b], data[b:]] for a, b in ends]


@pytest.mark.parametrize("text", ["naïve", "日本語", "👩‍👩‍👧", "é", "plain"])
def test_characters_arrive_whole(text: str) -> None:
    """For every split of the bytes, each part is valid text, and the parts add up."""
    for pieces in splits(text.encode()):
        texts, _ = run(pieces)
        assert "".join(texts) == text
        assert "\ufffd" not in "".join(texts)


def test_invalid_bytes_become_replacement_characters() -> None:
    """Bytes that can't become UTF-8 are shown as U+FFFD, at the end too."""
    assert "".join(run([b"a\xff", b"b\xe6\x97"])[0]) == "a\ufffdb\ufffd"


@pytest.mark.parametrize("stop", ["STOP", "S", "TOP and", "日本"])
def test_a_stop_string_never_leaks(stop: str) -> None:
    """For every split, the text before the stop string comes out, and nothing of the stop string."""
    text = f"before it {stop} after"
    for pieces in splits(text.encode()):
        texts, stopped = run(pieces, (stop, "unused"))
        assert stopped
        assert "".join(texts) == text[: text.index(stop)]


def test_the_first_of_several_stop_strings_counts() -> None:
    """The earliest match ends the text, not the first in the list."""
    assert "".join(run([b"one two three"], ("three", "two"))[0]) == "one "


def test_the_beginning_of_a_stop_string_is_released_when_it_is_none() -> None:
    """Held-back text comes out as soon as it can't be a stop string, and at the end."""
    assert run([b"a<", b"b<", b"/en"], ("</end>",)) == (["a", "<b", "", "</en"], False)


def test_overlapping_beginnings_are_found() -> None:
    """A stop string that begins inside a failed match of itself is still found."""
    assert "".join(run([b"a", b"a", b"b", b"!"], ("ab",))[0]) == "a"


def test_log_probabilities_of_a_stop_string_are_held_back() -> None:
    """The tokens of a stop string do not leak through their log probabilities."""
    assembler = TextAssembler(("END",))
    entries = [TokenLogprob(token=text, logprob=-1.0) for text in ("a", "E", "ND")]
    released = [assembler.push(entry.token.encode(), entry) for entry in entries]
    assert [(text, [entry.token for entry in out]) for text, out in released] == [("a", ["a"]), ("", []), ("", [])]
    assert assembler.stopped
    assert assembler.flush() == ("", ())

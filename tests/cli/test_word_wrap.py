"""Lines are broken between words, however the text was cut on its way."""

import pytest

from jan.cli.chat.word_wrap import WordWrap


def wrapped(text: str, width: int, piece: int) -> str:
    wrap = WordWrap(lambda: width)
    pieces = [text[at : at + piece] for at in range(0, len(text), piece)]
    return "".join(map(wrap.add, pieces)) + wrap.end()


@pytest.mark.parametrize("piece", [1, 3, 100])
@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", [""]),
        ("short", ["short"]),
        ("ten cells.", ["ten cells."]),
        ("eleven cell", ["eleven", "cell"]),
        ("two  blanks and a break", ["two", "blanks and", "a break"]),
        ("lines\n\n  stay\n", ["lines", "", "  stay", ""]),
        ("a\tb", ["a\tb"]),
        ("one\ttab and more", ["one", "tab and", "more"]),
        # A word that fits on no line is left to the terminal, and what follows counts on from its end.
        ("see http://example.org ok so", ["see", "http://example.org", "ok so"]),
        # Wide characters take two cells and may break anywhere, but not before a full stop.
        ("日本語の文章です。", ["日本語の文", "章です。"]),
        ("日本語の文。", ["日本語の", "文。"]),
        # What combines takes no cell of its own.
        ("e\u0301" * 5 + " " + "e\u0301" * 4, ["e\u0301" * 5 + " " + "e\u0301" * 4]),
        ("👩\u200d🚀👩\u200d🚀 ab", ["👩\u200d🚀👩\u200d🚀", "ab"]),
        # Code stays as it is.
        ("~~~\nx = 'a long line'\n~~~\nand more words", ["~~~", "x = 'a long line'", "~~~", "and more", "words"]),
    ],
)  # fmt: skip
def test_lines_break_between_words(text: str, lines: list[str], piece: int) -> None:
    assert wrapped(text, 10, piece).split("\n") == lines


def test_a_word_is_shown_as_soon_as_it_ends() -> None:
    """Only the last word waits, because it may not fit."""
    wrap = WordWrap(lambda: 80)
    assert [wrap.add("Hel"), wrap.add("lo the"), wrap.add("re "), wrap.end()] == ["", "Hello", " there", " "]


@pytest.mark.parametrize("width", [0, 1, 2])
def test_a_terminal_without_width_shows_everything(width: int) -> None:
    assert wrapped("any words", width, 1).replace("\n", " ") == "any words"

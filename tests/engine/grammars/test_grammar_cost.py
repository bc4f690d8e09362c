"""Regular expressions and grammars that would block the engine's thread are recognised before they are
compiled."""

import pytest

from jan.engine.grammars.grammar_cost import grammar_too_costly, regex_too_costly


@pytest.mark.parametrize(
    "regex",
    [
        "a{1000000}",
        "(a{1000}){1000}",
        "((a{100}){100}){100}",
        "([a-z]|\\d{3,}){0,20000}",
        "(" * 200 + "a" + ")" * 200,
        "a" * 10_001,
        "a{" + "9" * 5000 + "}",
    ],
)
def test_huge_expressions_are_refused(regex: str) -> None:
    """Repetitions multiply; the library took up to 4 s for some of these."""
    assert regex_too_costly(regex)


@pytest.mark.parametrize(
    "regex", [r"\d{4}-\d{2}-\d{2}( \d{2}:\d{2})?", r"[a-z{}()]{1,5000}", r"\({3}a{}", "a" * 5000]
)
def test_ordinary_expressions_pass(regex: str) -> None:
    """Escaped characters, and characters in classes, count as one character."""
    assert regex_too_costly(regex) == ""


@pytest.mark.parametrize(
    "grammar",
    [
        "start: A\nA: B{1000}\nB: /a{1000}/",
        'start: A\nA: "a" ~ 20000',
        "\n".join(["start: A0", *(f"A{n}: A{n + 1} A{n + 1}" for n in range(20)), 'A20: "a"']),
        "\n".join(["start: A0", *(f"A{n}: A{n + 1}" for n in range(900)), 'A900: "a"']),
        "start: " + "(" * 4000 + '"a"' + ")" * 4000,
        'start: %json {"multipleOf": 3}',
        "start: %regex {}",
        'start: "' + "a" * 10_000 + '"',
    ],
)
def test_huge_grammars_are_refused(grammar: str) -> None:
    """Terminals count each time they are used; grammars of other kinds inside are refused."""
    assert grammar_too_costly(grammar)


@pytest.mark.parametrize(
    "grammar",
    [
        'start: sum\nsum: NUMBER ("+" NUMBER)*  // a list\nNUMBER: /[0-9]{1,9}/\n%ignore / +/',
        'start: value\nvalue: "[" value{0,50} "]" | WORD\nWORD: /[a-z]+/',
        "start: A\nA: A",
    ],
)
def test_ordinary_grammars_pass(grammar: str) -> None:
    """Rules may be recursive; the compiler refuses circular terminals."""
    assert grammar_too_costly(grammar) == ""

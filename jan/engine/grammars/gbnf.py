"""Translate llama.cpp's grammars (GBNF) into llguidance's variant of Lark.

GBNF: https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md. vLLM's and SGLang's EBNF is the same
form. Rules that do not lead back to themselves become terminals, so that the lexer takes each as a whole.
"""

import json
import re
from collections.abc import Iterator
from typing import Literal

import msgspec

_MAX_DEPTH = 100
_RULE = re.compile(r"^[ \t]*[A-Za-z][\w-]*[ \t]*::=", re.MULTILINE)
_TOKEN = re.compile(
    r'(?P<space>\s+|#[^\n]*)|(?P<string>"(?:\\.|[^"\\])*")|(?P<set>\[\^?\]?(?:\\.|[^\]\\])*\])|(?P<define>::=)'
    r"|(?P<name>[A-Za-z][\w-]*)|(?P<repeat>[*+?]|\{\s*\d*\s*(?:,\s*\d*\s*)?\})|(?P<mark>[()|.])",
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_CONTROL = {"n": "\n", "r": "\r", "t": "\t"}.get

Kind = Literal["string", "set", "name", "repeat", "mark", "define"]


class _Token(msgspec.Struct, frozen=True):
    """A part of a grammar's text."""

    kind: Kind
    text: str


def is_gbnf(grammar: str) -> bool:
    """Return True if a grammar is in llama.cpp's form, by its definitions with ``::=``."""
    return _RULE.search(grammar) is not None


def lark_of(grammar: str) -> str:
    """Return the same grammar in Lark. Raises ValueError with a sentence that says what is wrong."""
    rules = _rules(list(_tokens(grammar)))
    if "root" not in rules:
        raise ValueError("It has no rule 'root'.")
    for body in rules.values():
        for token in body:
            if token.kind == "name" and token.text not in rules:
                raise ValueError(f"There is no rule '{token.text[:50]}'.")
    rising = _leading_back(rules)
    names = {name: f"r{number}" if name in rising else f"T{number}" for number, name in enumerate(rules)}
    lines = [f"{names[name]}: {_written(body, names)}" for name, body in rules.items()]
    return "\n".join([f"start: {names['root']}", *lines])


def literal(text: str) -> str:
    """Return a text as a string of a Lark grammar, whatever characters it has."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _tokens(grammar: str) -> Iterator[_Token]:
    at = 0
    while at < len(grammar):
        found = _TOKEN.match(grammar, at)
        if found is None:
            line = grammar.count("\n", 0, at) + 1
            raise ValueError(f"Line {line} can't be read at '{grammar[at : at + 20].splitlines()[0]}'.")
        at = found.end()
        if found.lastgroup != "space":
            yield _Token(found.lastgroup, found[0])  # type: ignore[arg-type]  # the groups are the kinds


def _rules(tokens: list[_Token]) -> dict[str, list[_Token]]:
    """Return the tokens of each rule's body, by its name."""
    starts = [at - 1 for at, token in enumerate(tokens) if token.kind == "define"]
    if not starts or starts[0] != 0 or any(tokens[at].kind != "name" for at in starts):
        raise ValueError("Each rule must begin with its name and '::='.")
    rules: dict[str, list[_Token]] = {}
    for start, end in zip(starts, [*starts[1:], len(tokens)], strict=True):
        if (name := tokens[start].text) in rules:
            raise ValueError(f"Rule '{name[:50]}' is defined twice.")
        rules[name] = tokens[start + 2 : end]
        _check(name, rules[name])
    return rules


def _check(name: str, body: list[_Token]) -> None:
    """Check the groups and repetitions of a rule."""
    depth, repeatable = 0, False
    for token in body:
        depth += (token.text == "(") - (token.text == ")")
        if not 0 <= depth <= _MAX_DEPTH:
            raise ValueError(f"The groups of rule '{name[:50]}' do not match, or are more than {_MAX_DEPTH} deep.")
        if token.kind == "repeat" and not repeatable:
            raise ValueError(f"Rule '{name[:50]}' repeats nothing at '{token.text}'.")
        repeatable = token.kind in ("string", "set", "name") or token.text in (")", ".")
    if depth:
        raise ValueError(f"The groups of rule '{name[:50]}' do not match.")


def _leading_back(rules: dict[str, list[_Token]]) -> set[str]:
    """Return the rules that lead to themselves, and those that lead to such a rule."""
    uses = {name: {token.text for token in body if token.kind == "name"} for name, body in rules.items()}
    flat: set[str] = set()
    while new := {name for name, used in uses.items() if name not in flat and used <= flat}:
        flat |= new
    return set(rules) - flat


def _written(body: list[_Token], names: dict[str, str]) -> str:
    """Return a rule's body in Lark. Empty alternatives become empty strings."""
    parts: list[str] = []
    empty = True  # True where an alternative has begun
    for token in body:
        if empty and token.text in ("|", ")"):
            parts.append('""')
        parts.append(_part(token, names))
        empty = token.text in ("|", "(")
    return " ".join([*parts, '""'] if empty else parts)


def _part(token: _Token, names: dict[str, str]) -> str:
    if token.kind == "name":
        return names[token.text]
    if token.kind == "string":
        return literal("".join(_characters(token.text[1:-1])))
    if token.kind == "set":
        return _set(token.text)
    if token.text == ".":
        return r"/(.|\n)/"
    # A repetition stands directly after what is repeated, which a space before it would not change.
    return token.text.replace(" ", "")


def _characters(text: str) -> Iterator[str]:
    """Yield the characters of a text, with its escapes read."""
    at = 0
    while at < len(text):
        found = _ESCAPE.match(text, at)
        if found is None:
            yield text[at]
            at += 1
            continue
        at = found.end()
        code = found[1] or found[2] or found[3]
        if code is None:
            yield _CONTROL(found[4], found[4])
        elif int(code, 16) > 0x10FFFF or 0xD800 <= int(code, 16) < 0xE000:
            raise ValueError(f"The escape '{found[0]}' is not a character.")
        else:
            yield chr(int(code, 16))


def _set(text: str) -> str:
    """Return a set of characters as a regular expression."""
    negated = text.startswith("[^")
    inner = text[2 if negated else 1 : -1]
    if not inner:
        raise ValueError(f"The set '{text}' is empty.")
    # A minus sign between two characters makes a range, unless it is escaped.
    parts = [
        ("\\-" if piece.startswith("\\-") else piece)
        for piece in re.findall(r"\\x..|\\u.{4}|\\U.{8}|\\.|.", inner, re.DOTALL)
    ]
    members, at = [], 0
    while at < len(parts):
        if at + 2 < len(parts) and parts[at + 1] == "-":
            members.append(f"{_member(parts[at])}-{_member(parts[at + 2])}")
            at += 3
        else:
            members.append(_member(parts[at]))
            at += 1
    return f"/[{'^' if negated else ''}{''.join(members)}]/"


def _member(piece: str) -> str:
    """Return one character of a set by its number, so that none has a meaning of its own."""
    return f"\\x{{{ord(next(_characters(piece))):x}}}"

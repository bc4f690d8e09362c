"""Plain English that a machine can check: docstrings that say something, error messages in one style."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted([*ROOT.glob("jan/**/*.py"), *ROOT.glob("handlers/**/*.py")])
FEWEST_WORDS = 4
# Classes whose first argument a client or an operator reads. A ValueError of a schema ends in such a message.
ERRORS = {
    "AuthenticationFailed",
    "BadParameter",
    "BenchError",
    "CannotListen",
    "ChatError",
    "ClickException",
    "ConfigurationError",
    "Conflict",
    "InternalError",
    "InvalidRequest",
    "MethodNotAllowed",
    "NotFound",
    "PayloadTooLarge",
    "PermissionDenied",
    "RateLimited",
    "Unavailable",
    "UnsupportedMediaType",
    "UsageError",
    "ValueError",
}
# "server.port: ", "{path}: ", "models[{index}] ({id}): ": places before the sentence.
PLACE = re.compile(r"(?:(?:line )?[\w.\[\]{}$<>/\-\0]+(?: \(\0\))?: )*")
JOINED = re.compile(r"; (?!allowed\b|available\b)")
BEGINS_LOWER = re.compile(r"[a-z]")
PRIVATE_PHRASES = re.compile(
    r"\b(what there is|of whom|so many|of late|hangs? by|hung by|can't but|who comes anew|tell of|told of)\b",
    re.IGNORECASE,
)
# A docstring begins with the verb or the thing.
BEGINS_IN_MID_AIR = re.compile(r"(?:whether|what|whose|of whom|so many|as many)\b", re.IGNORECASE)
PLACEHOLDER = "\0"


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and text of every docstring, also of those below an attribute."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            yield node.lineno, node.value.value


def comments(text: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of every comment, those on lines that follow each other together."""
    found: list[tuple[int, int, str]] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        words = token.string.lstrip("#").strip()
        if found and found[-1][1] == token.start[0] - 1:
            first, _, before = found.pop()
            found.append((first, token.start[0], f"{before} {words}"))
        else:
            found.append((token.start[0], token.start[0], words))
    yield from ((first, words) for first, _, words in found)


def literals(node: ast.expr) -> Iterator[str]:
    """Yield the texts that an expression may be, with a mark for each placeholder."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=values):
            yield "".join(part.value if isinstance(part, ast.Constant) else PLACEHOLDER for part in values)
        case ast.IfExp(body=body, orelse=orelse):
            yield from literals(body)
            yield from literals(orelse)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            befores, afters = list(literals(left)), list(literals(right))
            for before in befores or [PLACEHOLDER]:
                for after in afters or [PLACEHOLDER]:
                    yield before + after


def makers(tree: ast.Module) -> set[str]:
    """Return the names of functions that make an error of their ``message``."""
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and getattr(node.returns, "id", None) in ERRORS
        and [argument.arg for argument in node.args.args if argument.arg != "self"][:1] == ["message"]
    }


def assigned(scope: ast.AST) -> dict[str, list[ast.expr]]:
    """Return the values that each variable of a function is given."""
    found: dict[str, list[ast.expr]] = {}
    for node in ast.walk(scope):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            found.setdefault(node.targets[0].id, []).append(node.value)
    return found


def messages(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and text of every message given to an error, also through a variable of the function."""
    names = ERRORS | makers(tree)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    for function in functions:
        variables = assigned(function)
        for node in ast.walk(function):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "id", None) or getattr(node.func, "attr", None)
            given = [*node.args[:1], *(key.value for key in node.keywords if key.arg == "message")]
            if name not in names or not given:
                continue
            first = given[0]
            values = variables.get(first.id, []) if isinstance(first, ast.Name) else [first]
            for value in values:
                yield from ((value.lineno, text) for text in literals(value))


def is_sentence(message: str) -> bool:
    """Return True for sentences with a capital letter and a full stop, after any names of places.

    Only the values that would be right are joined by a semicolon: "Unknown key 'prot'; allowed: host, port."
    """
    if "Allowed: " in message or JOINED.search(message):
        return False
    sentence = message[PLACE.match(message).end() :]  # type: ignore[union-attr]
    if not sentence.strip(PLACEHOLDER):
        return True  # made elsewhere as a whole
    return not BEGINS_LOWER.match(sentence) and sentence.rstrip(f" {PLACEHOLDER}").endswith(".")


@pytest.mark.parametrize(
    ("message", "right"),
    [
        ("No user with this id.", True),
        ("server.port: Expected an integer.", True),
        (f"{PLACEHOLDER}: {PLACEHOLDER}", True),
        (f"The token was not accepted. {PLACEHOLDER}", True),
        (f"routes[{PLACEHOLDER}]: Unknown key '{PLACEHOLDER}'; allowed: {PLACEHOLDER}.", True),
        ("no user with this id.", False),
        ("server.port: expected an integer.", False),
        ("No user with this id", False),
        (f"Unknown key; allowed: {PLACEHOLDER}", False),
        (f"Unknown key. Allowed: {PLACEHOLDER}.", False),
        ("The store can't be reached. Try again later.", True),
        ("The store can't be reached; try again later.", False),
    ],
)
def test_a_message_is_recognised_as_a_sentence(message: str, right: bool) -> None:
    """Places may come first; then it takes a capital letter and a full stop."""
    assert is_sentence(message) is right


def test_every_docstring_says_something() -> None:
    """A docstring has four words at least, or there is none: a private name may say it all."""
    short = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in FILES
        for line, text in docstrings(ast.parse(path.read_text()))
        if len(text.split()) < FEWEST_WORDS
    ]
    assert not short, "\n".join(short)


def test_every_docstring_begins_with_the_verb_or_the_thing() -> None:
    """A reader knows from the first word on what a sentence is about."""
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in FILES
        for line, text in docstrings(ast.parse(path.read_text()))
        if BEGINS_IN_MID_AIR.match(text)
    ]
    assert not found, "\n".join(found)


def test_error_messages_are_sentences() -> None:
    """A client meets one style: what was wrong, where, and what is allowed, as a sentence."""
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {text.replace(PLACEHOLDER, '{}')}"
        for path in FILES
        for line, text in messages(ast.parse(path.read_text()))
        if not is_sentence(text)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_phrase_needs_decoding() -> None:
    """Phrases that are no English, or have no noun, stay away from docstrings and comments."""
    found = []
    for path in FILES:
        text = path.read_text()
        for line, words in [*docstrings(ast.parse(text)), *comments(text)]:
            if phrase := PRIVATE_PHRASES.search(" ".join(words.split())):
                found.append(f"{path.relative_to(ROOT)}:{line}: {phrase[0]}")
    assert not found, "\n".join(found)

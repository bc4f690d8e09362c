"""Formats in the forms of other servers: GBNF, choices of any text, and classes of ASCII characters."""

import re

import pytest

pytest.importorskip("cyllama")
pytestmark = pytest.mark.model

from jan.engine.backends.llamacpp.gguf_files import resolve_model_file  # noqa: E402
from jan.engine.backends.llamacpp.model import GgufModel  # noqa: E402
from jan.engine.formats import OutputFormat  # noqa: E402
from jan.engine.grammars.ascii_classes import with_ascii_classes  # noqa: E402
from jan.errors import InvalidRequest  # noqa: E402


@pytest.fixture(scope="module")
def model() -> GgufModel:
    return GgufModel(resolve_model_file("bundled"), 0)


def accepts(model: GgufModel, text: str, output: OutputFormat) -> bool:
    """Tell whether a format accepts a text as a whole."""
    constraint = model.grammars.compile(output)
    assert constraint is not None
    end = model.grammars.origin and min(model.stop_tokens)
    return all(constraint.accept(token) for token in model.tokenize_plain(text)) and constraint.accept(end)


CALC = 'root ::= sum\nsum ::= term ([-+*/] term)*\nterm ::= [0-9]+ | "(" sum ")"  # no spaces\n'


@pytest.mark.parametrize(
    ("grammar", "fits", "fits_not"),
    [
        ('root ::= "yes" | "no"', ("yes", "no"), ("maybe", "yesno", "")),
        ('root ::= "a" |\n  "b"\n\n', ("a", "b"), ("ab",)),
        (CALC, ("1+2*(3-45)", "7"), ("1+", "(1", "a")),
        ('root ::= x{2,3} y?\nx ::= [^"\\\\] | "\\""\ny-z ::= "q"\ny ::= y-z', ("ab", 'a"bq'), ("a", "a\\")),
        (
            'root ::= "\\x41\\u00e9\\U0001F600\\n" ("b" | )',
            ("A\u00e9\U0001f600\n", "A\u00e9\U0001f600\nb"),
            ("A",),
        ),
        ("root ::= [/\\]^-] .", ("/x", "]\n", "^y", "-z"), ("xx", "/")),
        ('root ::= [\\u4e00-\\u9fff]+ "%json"', ("\u4e2d\u6587%json",), ("ab%json",)),
    ],
)
def test_gbnf(model: GgufModel, grammar: str, fits: tuple[str, ...], fits_not: tuple[str, ...]) -> None:
    """llama.cpp's grammars accept what its documentation says."""
    output = OutputFormat(grammar=grammar)
    assert [text for text in fits if not accepts(model, text, output)] == []
    assert [text for text in fits_not if accepts(model, text, output)] == []


@pytest.mark.parametrize(
    ("grammar", "reason"),
    [
        ("root ::= other", "There is no rule 'other'"),
        ('rot ::= "a"', "It has no rule 'root'"),
        ('root ::= "a', "Line 1 can't be read at '\"a'"),
        ('root ::= ("a"', "The groups of rule 'root' do not match"),
        ("root ::= " + "(" * 200 + '"a"' + ")" * 200, "more than 100 deep"),
        ("root ::= * ", "Rule 'root' repeats nothing"),
        ('root ::= "a"\nroot ::= "b"', "Rule 'root' is defined twice"),
        ('root ::= "\\ud800"', "is not a character"),
        ("root ::= []", "can't be read|is empty"),
        ('x\nroot ::= "a"', "Each rule must begin"),
    ],
)
def test_bad_gbnf_is_explained(model: GgufModel, grammar: str, reason: str) -> None:
    """The refusal says what is wrong, and names the parameter."""
    with pytest.raises(InvalidRequest, match=reason) as refused:
        model.grammars.check_cost(OutputFormat(grammar=grammar, param="grammar"))
    assert (refused.value.code, refused.value.param) == ("invalid_schema", "grammar")


@pytest.mark.parametrize(
    "text",
    [
        "100%json",
        "\x7f",
        'a"b\\',
        "\n\r\t\0",
        "\U0001f389%regex{",
        "//x",
        "/",
        "<[5]>",
        "e\u0301\u2028",
        "%lark",
        " ",
    ],
)
def test_a_choice_is_any_text(model: GgufModel, text: str) -> None:
    """Whatever it would mean in a grammar."""
    output = OutputFormat(choices=(text, "other"))
    assert not model.grammars.check_cost(output)
    assert accepts(model, text, output)
    assert not accepts(model, text + "x", output)


@pytest.mark.parametrize(
    "grammar", ['start: "50%json" // %lark\n', "start: /[0-9]+%regex/\n", '// "%json\nstart: "a"\n']
)
def test_words_in_strings_are_text(model: GgufModel, grammar: str) -> None:
    """Only grammars inside a grammar are refused, not texts that are spelled like one."""
    model.grammars.check_cost(OutputFormat(grammar=grammar))
    with pytest.raises(InvalidRequest, match="%json"):
        model.grammars.check_cost(OutputFormat(grammar=grammar + "b: %json {}\n"))


@pytest.mark.parametrize(
    "regex",
    [
        r"\d+",
        r"[\d.]+",
        r"\D",
        r"[^\d\s]",
        r"\w",
        r"\W",
        r"\s",
        r"\S",
        r"[\D]",
        r"[\w-]",
        r"a\\d",
        r"[]\d]",
        r"\[\d",
    ],
)
def test_classes_are_ascii(regex: str) -> None:
    """Written out, they match what Python's ASCII classes match, character by character."""
    written = re.compile(with_ascii_classes(regex).replace("[[^0-9]]", "[^0-9]"))
    meant = re.compile(regex, re.ASCII)
    for text in [*map(chr, range(128)), "\u0663", "\u00e9", "\u2003", "\\d", "\\dd", "[5", "]"]:
        assert bool(written.fullmatch(text)) == bool(meant.fullmatch(text)), (regex, text)


def test_digits_of_other_scripts_are_refused(model: GgufModel) -> None:
    r"""``\d`` of the format is a digit from 0 to 9, also in a set."""
    for regex in (r"\d{3}", r"[\d]{3}"):
        assert accepts(model, "123", OutputFormat(regex=regex))
        assert not accepts(model, "\u0661\u0662\u0663", OutputFormat(regex=regex))
    assert accepts(model, "\u0661", OutputFormat(regex=r"[\D]"))
    assert not accepts(model, "1", OutputFormat(regex=r"[\D]"))

"""Check that every test that SECURITY.md names exists, and that every chapter of the standard is spoken of."""

import re

import pytest
from support.documents import PAGES
from support.server import ROOT

_PAGE = PAGES["SECURITY.md"]
_NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(test_\w+)`", _PAGE)))
_ROWS = [line.split(" | ") for line in _PAGE.splitlines() if re.match(r"\| V\d", line)]


def test_each_row_has_a_test() -> None:
    """A row has four cells, and names a test by its file and name in the last one."""
    assert _ROWS
    for row in _ROWS:
        assert len(row) == 4, row
        assert re.fullmatch(r"(`[\w/]+\.py::test_\w+`(, )?)+ \|", row[3]), row


@pytest.mark.parametrize(("file", "name"), _NAMED, ids=[f"{file}::{name}" for file, name in _NAMED])
def test_a_test_that_is_named_exists(file: str, name: str) -> None:
    """It is a function of that file."""
    path = ROOT / "tests" / file
    assert path.is_file(), f"There is no tests/{file}."
    assert re.search(rf"^(async )?def {name}\(", path.read_text(), re.MULTILINE), f"tests/{file} has no {name}."


def test_every_chapter_is_spoken_of() -> None:
    """Each of the seventeen chapters has a row, or a word why it has none."""
    chapters = {int(number) for number in re.findall(r"\bV(\d+)", _PAGE)}
    assert chapters == set(range(1, 18))

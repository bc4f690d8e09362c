"""The documents as tests read them: README, CONTRIBUTING, SECURITY and the pages of docs/."""

import re

from support.server import ROOT

_FILES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted(ROOT.glob("docs/*.md")))
#: The text of each page by its path in the checkout.
PAGES = {str(path.relative_to(ROOT)): path.read_text() for path in _FILES}


def blocks_of(page: str) -> list[tuple[str, str]]:
    """Return a page's fenced blocks in order: language and text."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", PAGES[page], re.DOTALL | re.MULTILINE)


def blocks(language: str, having: str) -> list[str]:
    """Return the blocks of all pages that are in a language and contain some text; there must be one."""
    found = [text for page in PAGES for kind, text in blocks_of(page) if kind == language and having in text]
    assert found
    return found


def rows(page: str, heading: str) -> dict[str, list[str]]:
    """Return the rows of the first table below a heading by their first cell."""
    after = PAGES[page][PAGES[page].index(f"{heading}\n") :]
    table = re.search(r"((?:^\|.*\n)+)", after, re.MULTILINE)
    assert table is not None
    cells = [[cell.strip() for cell in line.strip().strip("|").split(" | ")] for line in table[1].splitlines()[2:]]
    return {row[0].strip("` "): row[1:] for row in cells}


def prose(page: str) -> str:
    """Return a page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", PAGES[page], flags=re.DOTALL | re.MULTILINE)

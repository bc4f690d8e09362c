"""Check that links, anchors, paths and names in README and docs lead somewhere."""

import ast
import re
from pathlib import Path

import pytest
from support.documents import PAGES, prose
from support.server import ROOT

LONGEST_README = 240
MOST_FILES = 25
MAPS = ("docs/architecture.md", "docs/glossary.md")


def _anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and the site's builder make them."""
    headings = re.findall(r"^#+ +(.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_the_readme_fits_on_a_few_screens() -> None:
    """The README stays short: everything else has a page."""
    assert len(PAGES["README.md"].splitlines()) <= LONGEST_README


@pytest.mark.parametrize("page", PAGES)
def test_links_and_paths_lead_somewhere(page: str) -> None:
    """Each relative link's file and anchor exist, and so does each path in backquotes. Pages of the site link
    only to each other."""
    folder = (ROOT / page).parent
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", prose(page)):
        path, _, anchor = link.partition("#")
        target = (folder / path).resolve() if path else ROOT / page
        assert target.is_file(), f"{page} links to {link}"
        assert folder == ROOT or target.parent == folder, f"{page} links out of the site, to {link}"
        assert not anchor or anchor in _anchors(target.read_text()), f"{page} links to {link}"
    paths = re.findall(r"`((?:jan|conf|handlers|tools|tests|docs)/[\w./-]+)[ `]", PAGES[page])
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_page_can_be_found() -> None:
    """README and the site's home each link to every page of the documents."""
    pages = {path.name for path in ROOT.glob("docs/*.md")} - {"index.md"}
    assert pages <= set(re.findall(r"\(docs/([\w-]+\.md)", PAGES["README.md"]))
    assert pages == set(re.findall(r"\(([\w-]+\.md)\)", PAGES["docs/index.md"]))


def _names_in(path: Path) -> set[str]:
    """Return the functions and classes of a file, methods as Class.method."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            inner = [item for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)]
            found |= {f"{node.name}.{item.name}" for item in inner}
    return found


@pytest.mark.parametrize("page", PAGES)
def test_named_functions_exist(page: str) -> None:
    """Where a page says `file.py:function` or `file.py:Class.method`, the file has it."""
    named = re.findall(r"`((?:jan|handlers|tools|tests)/[\w/]+\.py):([\w.]+)", PAGES[page])
    assert [f"{path}:{name}" for path, name in named if name not in _names_in(ROOT / path)] == []


def test_methods_named_without_their_file_exist() -> None:
    """Where the map or the glossary says `Class.method`, a file of the core has it."""
    there = {name for path in ROOT.glob("jan/**/*.py") for name in _names_in(path)}
    named = [name for page in MAPS for name in re.findall(r"`([A-Z]\w+\.\w+)`", PAGES[page])]
    assert named
    assert [name for name in named if name not in there] == []


def test_a_streamed_request_passes_through_few_files() -> None:
    """The map tells a streamed chat request in 12 steps, and names at most 25 files."""
    section = PAGES["docs/architecture.md"].partition("## A streamed chat request in 12 steps\n")[2]
    section = section.partition("\n## ")[0]
    assert re.findall(r"^(\d+)\. ", section, re.MULTILINE) == [str(number) for number in range(1, 13)]
    assert 12 <= len(set(re.findall(r"`((?:jan|handlers)/[\w/]+\.py)", section))) <= MOST_FILES

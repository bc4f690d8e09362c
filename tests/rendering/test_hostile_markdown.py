"""Texts that would run something in a page leave nothing that could: read again by a strict reader of HTML."""

import asyncio
import json
from html.parser import HTMLParser

import pytest
from support.server import ROOT

from jan.rendering.blocks import Rendered
from jan.rendering.renderer import Renderer

TEXTS = json.loads((ROOT / "tests" / "support" / "hostile_texts.json").read_text())


def words(text: str) -> set[str]:
    return set(text.split())


# Written down here again: what the cleaner allows must not grow by accident.
ELEMENTS = words(
    """a blockquote br code div em figcaption figure h2 h3 h4 h5 h6 hr kbd li mark ol p pre s section span strong
    sub sup table tbody td th thead tr u ul
    math menclose mfrac mi mmultiscripts mn mo mover mpadded mphantom mroot mrow ms mspace msqrt mstyle msub
    msubsup msup mtable mtd mtext mtr munder munderover"""
)
ATTRIBUTES = words(
    """aria-label class data-language data-lines data-note data-tex dir href rel role scope start tabindex target
    title value"""
)
MATH_ATTRIBUTES = words(
    """accent accentunder columnalign columnspacing depth display displaystyle fence form height linethickness
    lspace mathsize mathvariant maxsize minsize movablelimits notation rowspacing rspace scriptlevel separator
    stretchy symmetric voffset width"""
)


class StrictReader(HTMLParser):
    """Fails for an element or attribute that is not expected, and for one that is not closed."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ELEMENTS, tag
        known = ATTRIBUTES | MATH_ATTRIBUTES if "math" in self.open or tag == "math" else ATTRIBUTES
        for name, value in attrs:
            assert name in known, (tag, name)
            if name == "href":
                assert tag == "a"
                assert value is not None
                assert value.startswith(("http://", "https://", "mailto:")), value
        if tag == "a":
            assert dict(attrs)["rel"] == "noopener noreferrer nofollow ugc"
            assert dict(attrs)["target"] == "_blank"
            assert "a" not in self.open
        if tag not in ("br", "hr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    handle_decl = handle_pi = unknown_decl = handle_comment


def check(html: str) -> str:
    """Return the text of HTML that nothing is wrong with."""
    reader = StrictReader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return "".join(reader.text)


@pytest.fixture(scope="module")
def rendered() -> list[Rendered]:
    """All texts, each rendered alone."""

    async def all_of_them() -> list[Rendered]:
        renderer = Renderer()
        try:
            return [await renderer.render(one["text"]) for one in TEXTS]
        finally:
            await renderer.close()

    return asyncio.run(all_of_them())


def test_the_corpus_is_large_and_repeats_nothing() -> None:
    assert len({one["text"] for one in TEXTS}) == len(TEXTS) >= 150
    assert {one["kind"] for one in TEXTS} == {"html", "svg", "mathml", "link", "markdown"}


@pytest.mark.parametrize("number", range(len(TEXTS)))
def test_a_payload_leaves_nothing_that_could_run(rendered: list[Rendered], number: int) -> None:
    for block in rendered[number].blocks:
        check(block.html)


@pytest.mark.parametrize(
    "html", ["<p onclick=a>", "<script>", "<a href=javascript:a>", "<p>a", "<!--a-->", "<b>a</b>"]
)
def test_the_reader_finds_what_is_wrong(html: str) -> None:
    with pytest.raises((AssertionError, KeyError)):
        check(html)

"""A text that grows: its finished blocks are those of the whole text, wherever it is cut."""

import re

import pytest

from jan.rendering.blocks import Block, RenderJob
from jan.rendering.markdown import render

# No later line of these changes an earlier block.
TEXTS = {
    "paragraphs": "One *two*\nthree\n\nfour\n\n\nfive",
    "headings": "# A\n## B ##\ntext\n# C",
    "setext": "A\n===\n\nB\nC\n---\n\ntext\n---\nmore",
    "rules": "a\n\n***\n---\n- - -\n***bold***\n\n* * x",
    "list": "- a\n- b\n  - c\n\n    d\n- e\n\ntext",
    "loose list": "- a\n\n- b\n\n\n- c\n\nText\n\n* d\n* e",
    "ordered": "1. a\n2. b\n\n3) c\n4) d\n\nÉnd",
    "list and code": "- a\n\n      code\n\n  ```\n  b\n\n  ```\n\nText",
    "lazy": "> a\nb\n\n> c\n> d\ne\n\n- f\ng\n",
    "fence": "Text\n```python\ndef f():\n\n    return 1\n```\nAfter\n\n~~~\nb\n```\n~~~",
    "open fence": "a\n\n```\nb\n\nc\n\nd",
    "longer fence": "````\na\n```\nb\n\n````\nc",
    "indented": "a\n\n    b\n\n    c\n\nd",
    "table": "Text:\n\n| a | b |\n|---|--:|\n| c | d |\n\nAfter\n| e |\n|---|\nf\n\ng",
    "no table": "| a | b |\n| c | d |\n\n| e |",
    "formulas": "a $x$ b\n\n$$\nx\n\n+ y\n$$\n\nText:\n$$ z $$\nafter\n\\[\nu\n\\]\nend",
    "html": "<div>\n\n*a*\n\n</div>\n\n<!-- b\n\nc -->",
    "definitions first": "[a]: https://x.org\n\n[b]: https://y.org\n'title'\n\nText",
    "blank": "\n\n  \n\na\n \t\n\nb\n\n",
    "line ends": "a\r\n\r\n# b\r\n\r\n- c\r\n- d\r\n\r\ne",
    "wide": "😀 a\n\n中文\n\n- é\n\nעברית\n\nend",
    "tabs": "-\ta\n\n\tb\n\n\tc\n\nd",
    "tasks": "- [ ] a\n- [x] b\n\nc",
    "nested": "> - a\n>\n>   b\n>\n> > c\n\n> d\n\ne",
    "escapes": "\\# a\n\n\\- b\n\n1\\. c\n\n&nbsp;d",
}
# A later line changes an earlier block of these.
CHANGED = {
    "link": "See [a].\n\nText\n\n[a]: https://x.org\n",
    "footnote": "See[^a] and[^b].\n\nText\n\n[^b]: B\n[^a]: A\n",
    "no formula": "Text\n\n$$ is\n\nno formula",
    "notes within": "A[^a]\n\n[^a]: B\n\n    C\n\nText[^a]\n\nEnd",
}


def grown(text: str) -> tuple[list[Block], int]:
    """The blocks of the beginning of a text that are finished, and how much of it they are."""
    lines = text.rfind("\n") + 1
    begins = text[lines : lines + 1].isalpha()
    done = render(RenderJob(text[:lines], growing=True, next_begins=begins))
    return done.blocks, done.read


def ends_a_line(text: str, read: int) -> bool:
    return read == 0 or text[read - 1] in "\r\n"


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_finished_blocks_are_those_of_the_whole_text(text: str) -> None:
    whole = render(RenderJob(text)).blocks
    seen: dict[int, int] = {}
    for cut in range(len(text) + 1):
        blocks, read = grown(text[:cut])
        assert blocks == whole[: len(blocks)], text[:cut]
        assert ends_a_line(text, read)
        assert seen.setdefault(read, len(blocks)) == len(blocks), text[:cut]
    for read, count in seen.items():
        # What is open reads the same alone.
        rest = render(RenderJob(text[read:])).blocks
        assert [block.html for block in rest] == [block.html for block in whole[count:]], text[:read]


@pytest.mark.parametrize("text", CHANGED.values(), ids=CHANGED)
def test_what_is_read_ends_a_line(text: str) -> None:
    for cut in range(len(text) + 1):
        _, read = grown(text[:cut])
        assert ends_a_line(text, read)


@pytest.mark.parametrize(
    ("text", "finished"),
    [
        ("a\n", 0),
        ("a\n\n", 1),
        ("a\n\nb", 1),
        ("# a\n", 1),
        ("- a\n\n", 0),
        ("- a\n\n- ", 0),
        ("- a\n\nb", 1),
        ("```\na\n\nb", 0),
        ("```\na\n```\n", 1),
        ("|a|\n|-|\n|b|\n", 0),
        ("|a|\n|-|\n|b|\n\n", 1),
        ("$$\na\n\nb", 0),
        ("$$\na\n$$\n", 1),
        ("> a\n\n", 1),
        ("    a\n\n", 0),
        ("    a\n\nb", 1),
    ],
)
def test_a_block_is_finished_as_soon_as_nothing_can_continue_it(text: str, finished: int) -> None:
    assert len(grown(text)[0]) == finished


def test_the_language_of_code_is_no_markup() -> None:
    (block,) = render(RenderJob('```"><b>\na\n```')).blocks
    assert re.search(r'data-language="&quot;&gt;&lt;b&gt;"|data-language="&quot;><b>"', block.html)

"""Markdown as safe HTML, by POST /render."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from jan.testing import ThreadServer, served


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadServer]:
    with served() as found:
        yield found
        assert found.errors == []


def blocks_of(client: httpx.Client, text: str) -> list[dict[str, Any]]:
    answer = client.post("/v1/render", json={"text": text})
    assert answer.status_code == 200, answer.text
    (rendered,) = answer.json()["data"]
    assert [block["index"] for block in rendered["blocks"]] == list(range(len(rendered["blocks"])))
    return rendered["blocks"]


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("# A", '<h2 dir="auto">A</h2>'),
        ("###### A", '<h6 dir="auto">A</h6>'),
        ("from $5 to $10", '<p dir="auto">from $5 to $10</p>'),
        ("$5-$10, or 10$", '<p dir="auto">$5-$10, or 10$</p>'),
        (r"\$5 and $6", '<p dir="auto">$5 and $6</p>'),
        ("it costs $5 or another 7$", '<p dir="auto">it costs $5 or another 7$</p>'),
        ("~~a~~ <u>b</u><br>", '<p dir="auto"><s>a</s> <u>b</u><br></p>'),
        ("<b>a", '<p dir="auto">&lt;b&gt;a</p>'),
        ("- [x] a", '<ul dir="auto">\n<li class="task">☑ a</li>\n</ul>'),
        ("![a](https://x.org/b.png)", '<p dir="auto"><a href="https://x.org/b.png" {}>a</a></p>'),
        ("[a](javascript:b)", '<p dir="auto">[a](javascript:b)</p>'),
        ("see http://x.org/(a), b", '<p dir="auto">see <a href="http://x.org/(a)" {}>http://x.org/(a)</a>, b</p>'),
    ],
    ids=lambda value: value if value.isascii() else "",
)
def test_markdown_becomes_html(server: ThreadServer, text: str, html: str) -> None:
    expected = html.replace("{}", 'target="_blank" rel="noopener noreferrer nofollow ugc"')
    assert blocks_of(server.client, text) == [{"index": 0, "html": expected, "end": len(text)}]


def test_code_has_its_language_and_classes_without_style(server: ThreadServer) -> None:
    (block,) = blocks_of(server.client, "```python\ndef f(): # c\n    return 'a' + 1\n```\n")
    assert (
        '<figure class="code" data-language="python" data-lines="2"><figcaption><span>python</span>'
        in block["html"]
    )
    assert '<span class="k">def</span> <span class="d">f</span>(): <span class="c"># c</span>' in block["html"]
    assert "style" not in block["html"]


def test_a_table_is_named_by_its_columns_and_can_be_scrolled(server: ThreadServer) -> None:
    (block,) = blocks_of(server.client, "|a|b|\n|-|-:|\n|1|2|\n")
    assert block["html"].startswith(
        '<div class="scroll" tabindex="0" role="group" aria-label="a, b"><table dir="auto">'
    )
    assert '<th class="n" scope="col">b</th>' in block["html"]


@pytest.mark.parametrize("text", ["$a<b$", r"\(a<b\)", "$$a<b$$", "$$\na<b\n$$", "\\[\na<b\n\\]"])
def test_a_formula_is_mathml_with_its_tex(server: ThreadServer, text: str) -> None:
    (block,) = blocks_of(server.client, text)
    assert "<mi>a</mi><mo>&lt;</mo><mi>b</mi>" in block["html"]
    assert 'data-tex="a&lt;b"' in block["html"]


def test_a_formula_that_can_not_be_read_is_shown_as_tex(server: ThreadServer) -> None:
    (block,) = blocks_of(server.client, r"$\frac{a}{$")
    assert block["html"] == r'<p dir="auto"><code>\frac{a}{</code></p>'


def test_footnotes_are_the_last_block(server: ThreadServer) -> None:
    first, last = blocks_of(server.client, "[^a]: The note\n\nText[^a]")
    assert first["html"] == '<p dir="auto">Text<sup data-note="1">1</sup></p>'
    assert last["html"].startswith('<section class="notes"><ol dir="auto"><li data-note="1"><p>The note</p>')


def test_the_end_of_a_block_counts_as_javascript_does(server: ThreadServer) -> None:
    text = "😀\r\n\r\n# é\r\n\n- 中\n"
    ends = [block["end"] for block in blocks_of(server.client, text)]
    assert ends == [4, 11, 16]
    assert ends[-1] == len(text.encode("utf-16-le")) // 2


def test_texts_of_a_list_are_rendered_in_their_order(server: ThreadServer) -> None:
    answer = server.client.post("/v1/render", json={"text": ["a", "", "b"]}).json()
    assert answer["object"] == "list"
    assert [text["index"] for text in answer["data"]] == [0, 1, 2]
    assert [[block["html"] for block in text["blocks"]] for text in answer["data"]] == [
        ['<p dir="auto">a</p>'],
        [],
        ['<p dir="auto">b</p>'],
    ]


# What takes a reader of Markdown long, or is deep or much. The first one takes longer than a text may.
HOSTILE = {
    "brackets": "[" * 120_000,
    "images": "![" * 5000,
    "quotes": "> " * 5000 + "a",
    "lists": "\n".join(" " * 2 * depth + "- a" for depth in range(200)),
    "columns": "|a" * 3000 + "|\n" + "|-" * 3000 + "|\n" + "|b" * 3000,
    "cells": "|a" * 100 + "|\n" + "|-" * 100 + "|\n" + "|\n" * 300,
    "open formulas": "\\[\n" * 2000,
    "braces": "$" + "{" * 1990 + "}" * 1990 + "$",
    "code": "```js\n" + "`${" * 16_000,
    "nul": "\0\r\n" * 1000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_text_that_is_too_much_to_read_loses_nothing(server: ThreadServer, text: str) -> None:
    """It takes the process some CPU time, which is limited, and others are served meanwhile and afterwards."""
    blocks = blocks_of(server.client, text)
    assert blocks[-1]["end"] == len(text)
    assert sum(block["html"].count("a") for block in blocks) >= text.count("a") > -1
    assert blocks_of(server.client, "b")[0]["html"] == '<p dir="auto">b</p>'


def test_a_block_that_is_nested_too_deeply_is_shown_as_it_is_written(server: ThreadServer) -> None:
    deep = "> " * 60 + "a"
    first, second, third = blocks_of(server.client, f"# b\n\n{deep}\n\nc")
    assert second["html"] == f'<p class="plain" dir="auto">{"&gt; " * 60}a</p>'
    assert (first["html"], third["html"]) == ('<h2 dir="auto">b</h2>', '<p dir="auto">c</p>')


@pytest.mark.parametrize(
    ("text", "param"),
    [
        (["a"] * 101, "text"),
        ("a" * 262_145, "text"),
        (["", "a" * 262_145], "text[1]"),
        (["a" * 250_000] * 5, "text"),
    ],
    ids=["texts", "text", "one of texts", "together"],
)
def test_too_much_is_refused_by_name(server: ThreadServer, text: Any, param: str) -> None:
    answer = server.client.post("/v1/render", json={"text": text})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
    assert answer.json()["error"]["message"].startswith(f"{param}: ")

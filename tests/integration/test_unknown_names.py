"""Names in a request that nobody knows: they change nothing, and the response says which they were."""

from typing import Any

import httpx
import pytest

CHAT = "/api/v1/chat/completions"
COMPLETIONS = "/api/v1/completions"
HELLO: list[dict[str, Any]] = [{"role": "user", "content": "one two"}]
FUNCTION = {"name": "f", "parameters": {"type": "object", "properties": {}, "x-own": True}}


def ignored(client: httpx.Client, path: str = CHAT, **body: Any) -> list[str]:
    """The names that the response says were ignored."""
    asked = {"model": "echo"} | ({"messages": HELLO} if path == CHAT else {"prompt": "one two"}) | body
    response = client.post(path, json=asked)
    assert response.status_code == 200, response.text
    named = response.headers.get("x-jan-ignored", "")
    return named.split(", ") if named else []


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
@pytest.mark.parametrize("stream", [False, True])
def test_unknown_names_are_reported(echo: httpx.Client, path: str, stream: bool) -> None:
    """Whole and streamed answers name what was ignored, and a request without such names has no header."""
    assert ignored(echo, path, stream=stream, wibble=1, wobble=None) == ["wibble", "wobble"]
    assert ignored(echo, path, stream=stream) == []


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        ({"stream": True, "stream_options": {"include_usage": True, "wibble": 1}}, ["stream_options.wibble"]),
        ({"messages": [*HELLO, HELLO[0] | {"wibble": {"a": 1}}]}, ["messages[1].wibble"]),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {}}]}]},
            ["messages[0].content[0].cache_control"],
        ),
        ({"tools": [{"type": "function", "function": FUNCTION | {"wibble": 1}, "wobble": 2}]}, []),
        ({"response_format": {"type": "text", "wibble": 1}}, ["response_format.wibble"]),
    ],
    ids=str,
)
def test_nested_names_are_reported_by_path(echo: httpx.Client, body: dict[str, Any], paths: list[str]) -> None:
    """A name inside an object is named with its path. Names inside a tool or a schema are the client's own."""
    assert ignored(echo, **body) == paths


def test_a_header_names_at_most_twenty_in_printable_ascii(echo: httpx.Client) -> None:
    """Names can't break the header, however many and however odd they are."""
    odd = {f"wibble{number}": number for number in range(30)}
    assert ignored(echo, **odd) == list(odd)[:20]
    assert ignored(echo, **{"a, b\r\nX-Evil: 1": 1, "é\U0001f389": 1, "": 1, "w" * 5000: 1}) == [
        "a%2C%20b%0D%0AX-Evil:%201",
        "%C3%A9%F0%9F%8E%89",
        "",
        "w" * 100,
    ]


def test_a_wrong_value_beside_an_unknown_name_is_still_refused(echo: httpx.Client) -> None:
    """An unknown name hides no mistake, before it or after it; the refusal names what was ignored too."""
    for body in ({"wibble": 1, "temperature": "hot"}, {"temperature": "hot", "wibble": 1}):
        response = echo.post(CHAT, json={"model": "echo", "messages": HELLO, **body})
        assert response.status_code == 400
        assert response.json()["error"]["param"] == "temperature"


def test_the_answer_is_the_same_with_unknown_names(echo: httpx.Client) -> None:
    """Everything else of the request keeps its effect, also the numbers of its logit_bias."""
    body = {"model": "echo", "messages": HELLO, "stop": ["two"], "logit_bias": {"7": 1.5}, "wibble": [1]}
    answer = echo.post(CHAT, json=body).json()
    assert answer["choices"][0]["message"]["content"] == "one "

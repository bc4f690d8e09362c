"""Server-sent events, byte by byte: the protocol that SDKs rely on, and what may go wrong under way."""

import json
import re
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.model import alike
from support.patience import in_time, until
from support.raw_http import connect, exchange, parse, request
from support.server import ECHO_CONFIG, MODEL, ServerProcess, http_client

CHAT = "/api/v1/chat/completions"
COMPLETIONS = "/api/v1/completions"
# Each word is a token of the echo models, and `slow` takes 20 ms for one.
LONG = " ".join(f"word{number}" for number in range(300))


def chat(text: str, **parameters: Any) -> dict[str, Any]:
    return {"model": "echo", "messages": [{"role": "user", "content": text}], "stream": True, **parameters}


def events_of(body: str) -> list[Any]:
    """The events of a complete stream, which must keep to the protocol: numbered from 1; [DONE] is taken off."""
    assert body.endswith("\n\n")
    # No empty line follows a comment: SDKs would take it for the end of an event.
    body = re.sub(r"^:.*\n(?!\n)", "", body, flags=re.MULTILINE)
    blocks = body.removesuffix("\n\n").split("\n\n")
    assert blocks.pop() == "data: [DONE]"
    lines = [block.split("\n") for block in blocks]
    assert [number for number, _ in lines] == [f"id: {number}" for number in range(1, len(blocks) + 1)]
    assert all(data.startswith("data: ") for _, data in lines)
    return [json.loads(data[6:]) for _, data in lines]


def stream(client: httpx.Client, body: dict[str, Any], url: str = CHAT) -> list[Any]:
    response = client.post(url, json={**body, "stream": True})
    assert response.status_code == 200, response.text
    return events_of(response.text)


def text_of(events: list[Any], index: int = 0) -> str:
    choices = [choice for event in events for choice in event["choices"] if choice["index"] == index]
    return "".join(
        choice["text"] if "text" in choice else choice["delta"].get("content") or "" for choice in choices
    )


def reasons_of(events: list[Any], index: int = 0) -> list[str | None]:
    return [c["finish_reason"] for event in events for c in event["choices"] if c["index"] == index]


def gauge(client: httpx.Client, name: str, model: str = "slow") -> float:
    """One of the engine's numbers, from /metrics."""
    wanted = f'jan_engine_{name}{{model="{model}"}} '
    lines = client.get("/metrics").text.splitlines()
    return next(float(line.removeprefix(wanted)) for line in lines if line.startswith(wanted))


def becomes(client: httpx.Client, name: str, value: float) -> bool:
    """Ask until a number has a value; gives up after a while."""
    return until(lambda: gauge(client, name) == value)


@pytest.fixture
def idle(echo: httpx.Client) -> httpx.Client:
    """A client of the echo server while its slow model has nothing to do."""
    assert becomes(echo, "running", 0)
    assert becomes(echo, "waiting", 0)
    return echo


# --- the protocol -----------------------------------------------------------------------------------


def test_the_bytes_of_a_chat_stream(echo_server: ServerProcess) -> None:
    """On the wire: status 200, the event stream's content type, no caching or collecting by proxies, chunked,
    one `data: ` line an event, [DONE] at the end, then the end of the response."""
    body = json.dumps(chat("one two three")).encode()
    head = f"Content-Length: {len(body)}", "Content-Type: application/json"
    response = parse(exchange(echo_server.url, request("POST", CHAT, *head, body=body)))
    assert response.status == 200
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache, no-store"
    assert response.headers["x-accel-buffering"] == "no"
    assert response.headers["transfer-encoding"] == "chunked"
    assert int(response.headers["openai-processing-ms"]) >= 0
    assert "x-request-id" in response.headers
    text = b""
    rest = response.body
    while rest != b"0\r\n\r\n":
        size, _, rest = rest.partition(b"\r\n")
        text, rest = text + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    assert text_of(events_of(text.decode())) == "one two three"


def test_the_events_of_a_chat_stream(echo: httpx.Client) -> None:
    """Chunks have one constant id, created and model; the role comes first, alone; finish_reason is null but
    in the one last chunk of the choice; there is no usage unless asked for."""
    events = stream(echo, chat("one two three"))
    assert {event["object"] for event in events} == {"chat.completion.chunk"}
    assert len({(event["id"], event["created"], event["model"]) for event in events}) == 1
    assert events[0]["id"].startswith("chatcmpl-")
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert all("role" not in event["choices"][0]["delta"] for event in events[1:])
    assert reasons_of(events) == [None] * (len(events) - 1) + ["stop"]
    assert events[-1]["choices"][0]["delta"] == {}
    assert all("usage" not in event for event in events)
    assert text_of(events) == "one two three"


def test_the_events_of_a_completion_stream(echo: httpx.Client) -> None:
    """The same for text completions, in their shape."""
    events = stream(echo, {"model": "echo", "prompt": "one two three", "max_tokens": 2}, COMPLETIONS)
    assert {event["object"] for event in events} == {"text_completion"}
    assert len({(event["id"], event["created"], event["model"]) for event in events}) == 1
    assert reasons_of(events) == [None] * (len(events) - 1) + ["length"]
    assert all("usage" not in event for event in events)
    assert text_of(events) == "one two "


@pytest.mark.parametrize("url", [CHAT, COMPLETIONS])
def test_every_token_is_an_event(echo: httpx.Client, url: str) -> None:
    """Of a model that is faster than its tokens can be sent, each is an event all the same, in each choice."""
    words = [f'"{number}"\\\n é😀 ' for number in range(500)]
    text = "".join(words)
    events = stream(echo, chat(text, prompt=text, n=2, max_tokens=4000), url)
    for index in range(2):
        own = [event for event in events if event["choices"][0]["index"] == index]
        pieces = [text_of([event], index) for event in own]
        assert "".join(pieces) == text
        assert len([piece for piece in pieces if piece]) == len(text.split())


@pytest.mark.parametrize("url", [CHAT, COMPLETIONS])
def test_usage_when_asked_for(echo: httpx.Client, url: str) -> None:
    """With include_usage every chunk has a null usage, but for one more at the end with the numbers and no
    choices."""
    body = chat("one two three", prompt="one two three", stream_options={"include_usage": True}, n=2)
    events = stream(echo, body, url)
    assert all(event["usage"] is None and event["choices"] for event in events[:-1])
    assert events[-1]["choices"] == []
    assert events[-1]["usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": 6,
        "total_tokens": 9,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


@pytest.mark.parametrize("url", [CHAT, COMPLETIONS])
@pytest.mark.parametrize("more", [{}, {"n": 2}])
def test_every_chunk_and_answer_has_the_model_s_fingerprint(
    echo: httpx.Client, url: str, more: dict[str, Any]
) -> None:
    """The same in all answers of one model; what reports more than text is no exception."""
    options = {"include_usage": True, "continuous_usage_stats": "n" in more}
    body = {**chat("a b c", **more), "prompt": "a b c", "stream_options": options}
    del body["prompt" if url == CHAT else "messages"]
    chunks = stream(echo, body, url)
    whole = echo.post(url, json={**body, "stream": False, "stream_options": None}).json()
    found = {event["system_fingerprint"] for event in [*chunks, whole]}
    assert len(found) == 1
    assert re.fullmatch(r"fp_[0-9a-f]{12}", found.pop())


@pytest.mark.parametrize(("choice", "content"), [("required", None), ("auto", "")])
def test_the_first_chunk_has_no_content_if_a_tool_is_forced(
    model: httpx.Client, choice: str, content: str | None
) -> None:
    """Clients take an empty text for the beginning of one."""
    tools = [{"type": "function", "function": {"name": "f"}}]
    body = {**chat("hi", tools=tools, tool_choice=choice, max_tokens=1), "model": MODEL}
    assert stream(model, body)[0]["choices"][0]["delta"] == {"role": "assistant", "content": content}


def test_no_usage_when_declined(echo: httpx.Client) -> None:
    """include_usage false is as good as none."""
    events = stream(echo, chat("one", stream_options={"include_usage": False}))
    assert all("usage" not in event for event in events)


@pytest.mark.parametrize("url", [CHAT, COMPLETIONS])
def test_three_choices_in_one_stream(echo: httpx.Client, url: str) -> None:
    """With n=3 each choice has its own pieces, whole, and exactly one end."""
    events = stream(echo, chat("one two three", prompt="one two three", n=3), url)
    assert len({event["id"] for event in events}) == 1
    for index in range(3):
        assert text_of(events, index) == "one two three"
        reasons = reasons_of(events, index)
        assert reasons == [None] * (len(reasons) - 1) + ["stop"]
    assert {choice["index"] for event in events for choice in event["choices"]} == {0, 1, 2}


def test_several_prompts_in_one_stream(echo: httpx.Client) -> None:
    """Prompts and choices are numbered together: prompt 0 has the first n indices."""
    events = stream(echo, {"model": "echo", "prompt": ["a b", "c d"], "n": 2}, COMPLETIONS)
    assert [text_of(events, index) for index in range(4)] == ["a b", "a b", "c d", "c d"]


def test_an_http_1_0_client(echo_server: ServerProcess) -> None:
    """A client that knows no chunks gets the plain stream, ended by the end of the connection."""
    body = json.dumps(chat("one two three")).encode()
    # nginx speaks HTTP/1.0 to servers behind it, so such a request is not taken for one of this machine.
    key = f"Authorization: Bearer {echo_server.admin_key}"
    head = f"Content-Length: {len(body)}", "Content-Type: application/json", key
    response = parse(exchange(echo_server.url, request("POST", CHAT, *head, body=body, version="HTTP/1.0")))
    assert "transfer-encoding" not in response.headers
    assert text_of(events_of(response.body.decode())) == "one two three"


def test_head_has_no_body(echo_server: ServerProcess) -> None:
    """HEAD answers with GET's headers and nothing behind them; on a URL without GET it is 405."""
    get = parse(exchange(echo_server.url, request("GET", "/api/v1/models")))
    head = parse(exchange(echo_server.url, request("HEAD", "/api/v1/models")))
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]
    refused = parse(exchange(echo_server.url, request("HEAD", COMPLETIONS)))
    assert (refused.status, refused.body) == (405, b"")


# --- one connection after another -------------------------------------------------------------------


def read_response(connection: socket.socket) -> bytes:
    """One response from a connection that stays open: to the end of its length or its chunks."""

    def more() -> bytes:
        piece = connection.recv(65536)
        assert piece, "the server closed the connection"
        return piece

    received = b""
    while b"\r\n\r\n" not in received:
        received += more()
    head, _, body = received.partition(b"\r\n\r\n")
    while not (body.endswith(b"0\r\n\r\n") if b"chunked" in head else len(body) >= _length(head)):
        body += more()
    return head + b"\r\n\r\n" + body


def _length(head: bytes) -> int:
    return int(next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")).split()[1])


def test_a_connection_lives_on(echo_server: ServerProcess) -> None:
    """After a stream, and after a refusal that is no broken HTTP, the same connection serves the next one."""
    bodies = [
        (chat("one two"), b"200"),
        (chat("one", temperature=9), b"400"),
        (chat("one", model="nope"), b"404"),
        (chat("word " * 5000), b"400"),
        (chat("one", stream=False), b"200"),
        (chat("a" * 5_000_000), b"413"),
        (chat("one two"), b"200"),
    ]
    with connect(echo_server.url) as connection:
        for body, status in bodies:
            data = json.dumps(body).encode()
            lines = [f"POST {CHAT} HTTP/1.1", "Host: localhost", f"Content-Length: {len(data)}", "", ""]
            connection.sendall("\r\n".join(lines).encode() + data)
            assert read_response(connection).split(b" ")[1] == status


def test_pipelined_requests_are_answered_in_turn(echo_server: ServerProcess) -> None:
    """Requests sent without waiting are answered one after another, in their order."""

    def one(text: str, last: bool) -> bytes:
        data = json.dumps(chat(text)).encode()
        close = ["Connection: close"] if last else []
        lines = [f"POST {CHAT} HTTP/1.1", "Host: localhost", f"Content-Length: {len(data)}", *close, "", ""]
        return "\r\n".join(lines).encode() + data

    received = exchange(echo_server.url, one("first", False) + one("second", False) + one("third", True))
    assert received.count(b"HTTP/1.1 200") == 3
    assert received.index(b"first") < received.index(b"second") < received.index(b"third")


# --- refusals and errors ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "status", "code"),
    [
        ({"model": "nope"}, 404, "model_not_found"),
        ({"temperature": 9}, 400, "invalid_value"),
        ({"messages": [{"role": "user", "content": "word " * 5000}]}, 400, "context_length_exceeded"),
        ({"tool_choice": "required"}, 400, "invalid_request"),
        ({"n": 2, "messages": [{"role": "user", "content": "word " * 5000}]}, 400, "context_length_exceeded"),
    ],
    ids=["unknown model", "wrong value", "too long", "contradiction", "too long twice"],
)
def test_a_refused_stream_is_a_real_error(
    echo: httpx.Client, parameters: dict[str, Any], status: int, code: str
) -> None:
    """A request that can't be served is refused before the stream begins: a status and the envelope, no event."""
    response = echo.post(CHAT, json=chat("hi") | parameters)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)


def test_an_error_inside_a_stream_is_an_event(tmp_path: Path) -> None:
    """A stream that the server can't finish ends with an error event and without [DONE], so that nobody takes
    it for whole; the server itself ends well."""
    config = tmp_path / "jan.yaml"
    config.write_text(ECHO_CONFIG.replace("grace_seconds: 5", "grace_seconds: 0"))
    server = ServerProcess(config)
    try:
        with http_client(server) as client, client.stream("POST", CHAT, json=chat(LONG, model="slow")) as response:
            lines = in_time(response.iter_lines())
            assert next(lines) == "id: 1"
            assert "role" in next(lines)
            server.signal(signal.SIGTERM)
            data = [line for line in lines if line.startswith("data: ")]
        assert server.wait() == 0
    finally:
        server.kill_if_running()
    error = json.loads(data[-1][6:])["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["code"]) == ("service_unavailable_error", "shutting_down")
    assert not any("[DONE]" in line for line in data)
    assert not any(json.loads(line[6:])["choices"][0]["finish_reason"] for line in data[:-1])
    assert server.errors() == []


# --- waiting, leaving, lingering --------------------------------------------------------------------


class Reader:
    """A stream read in a thread of its own; ``lines`` are what came so far."""

    def __init__(self, server: ServerProcess, body: dict[str, Any]) -> None:
        self.lines: list[str] = []
        self.first = threading.Event()
        self._server, self._body = server, body
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with http_client(self._server) as client, client.stream("POST", CHAT, json=self._body) as response:
            for line in in_time(response.iter_lines(), 120):
                self.lines.append(line)
                self.first.set()

    def text(self) -> str:
        """Wait for the end; the whole text."""
        self._thread.join(120)
        return text_of(events_of("\n".join(self.lines) + "\n"))


def test_comments_while_a_request_waits(idle: httpx.Client, echo_server: ServerProcess) -> None:
    """With all four slots taken a fifth stream begins with its role, keeps its connection alive by comments
    while it waits, and is then served whole."""
    others = [Reader(echo_server, chat(LONG, model="slow", max_tokens=60)) for _ in range(4)]
    assert becomes(idle, "running", 4)
    fifth = Reader(echo_server, chat("one two three", model="slow"))
    assert fifth.text() == "one two three"
    assert '"role":"assistant"' in fifth.lines[1]
    assert fifth.lines[3].startswith(":")
    assert all(len(reader.text().split()) == 60 for reader in others)


def test_a_client_that_leaves_frees_its_slot(idle: httpx.Client, echo_server: ServerProcess) -> None:
    """Closing the connection in mid-stream ends the generation at the next step: the slot is free, it counts
    as cancelled, and few tokens are generated for nobody."""
    cancelled, tokens = gauge(idle, "cancelled_total"), gauge(idle, "completion_tokens_total")
    with (
        http_client(echo_server) as client,
        client.stream("POST", CHAT, json=chat(LONG, model="slow")) as response,
    ):
        lines = response.iter_lines()
        for _ in range(6):
            next(lines)
    assert becomes(idle, "running", 0)
    assert gauge(idle, "cancelled_total") == cancelled + 1
    assert gauge(idle, "completion_tokens_total") - tokens < 100


@pytest.mark.parametrize("parameters", [{"stream": False}, {"n": 3}, {"n": 3, "stream": False}])
def test_leaving_cancels_everything(
    idle: httpx.Client, echo_server: ServerProcess, parameters: dict[str, Any]
) -> None:
    """All choices of a request end when its client leaves, streamed or not."""
    body = json.dumps(chat(LONG, model="slow", **parameters) | parameters).encode()
    cancelled = gauge(idle, "cancelled_total")
    choices = parameters.get("n", 1)
    with connect(echo_server.url) as connection:
        head = request("POST", CHAT, f"Content-Length: {len(body)}").replace(b"Connection: close\r\n", b"")
        connection.sendall(head + body)
        assert becomes(idle, "running", choices)
    assert becomes(idle, "running", 0)
    assert gauge(idle, "cancelled_total") == cancelled + choices


def test_leaving_while_waiting(idle: httpx.Client, echo_server: ServerProcess) -> None:
    """A request whose client leaves before its turn is forgotten; the ones before it are unharmed."""
    others = [Reader(echo_server, chat(LONG, model="slow", max_tokens=60)) for _ in range(4)]
    assert becomes(idle, "running", 4)
    cancelled = gauge(idle, "cancelled_total")
    with (
        http_client(echo_server) as client,
        client.stream("POST", CHAT, json=chat(LONG, model="slow")) as response,
    ):
        lines = response.iter_lines()
        assert next(lines) == "id: 1"
        assert "role" in next(lines)
        assert gauge(idle, "waiting") == 1
    assert becomes(idle, "waiting", 0)
    assert gauge(idle, "cancelled_total") == cancelled + 1
    assert all(len(reader.text().split()) == 60 for reader in others)


def test_a_client_that_lingers_gets_everything(echo_server: ServerProcess, echo: httpx.Client) -> None:
    """A client that reads nothing until the model is done gets the whole text; nothing is lost and the model did
    not wait for it."""
    words = [f"{number:04}" + "x" * 4000 for number in range(1000)]
    finished = gauge(echo, "finished_total", "echo")
    body = json.dumps(chat(" ".join(words))).encode()
    with connect(echo_server.url) as connection:
        connection.sendall(request("POST", CHAT, f"Content-Length: {len(body)}") + body)
        assert until(lambda: gauge(echo, "finished_total", "echo") > finished)
        received = b"".join(in_time(iter(lambda: connection.recv(1 << 20), b"")))
    data = [line[6:] for line in received.decode().splitlines() if line.startswith("data: {")]
    events = [json.loads(line) for line in data]
    assert text_of(events) == " ".join(words)
    assert reasons_of(events)[-1] == "stop"


# --- stop strings -----------------------------------------------------------------------------------

TEXT = "alpha beta gamma delta epsilon"

STOPS: dict[str, tuple[Any, str]] = {
    "within a word": ("amm", "alpha beta g"),
    "a whole word": ("gamma", "alpha beta "),
    "over a word's end": ("ta ga", "alpha be"),
    "over three words": ("a beta gamma d", "alph"),
    "several, the first in the text counts": (["epsilon", "gamma", "delta"], "alpha beta "),
    "one the beginning of another": (["gamma delta zeta", "gamma d"], "alpha beta "),
    "two that overlap, of which one is complete first": (["beta gamma", "a g"], "alpha bet"),
    "the text's beginning": ("al", ""),
    "the text's first word": ("alpha", ""),
    "the text's end": ("epsilon", "alpha beta gamma delta "),
    "the last character": ("n", "alpha beta gamma delta epsilo"),
    "the whole text": (TEXT, ""),
    "a white space": (" ", "alpha"),
}

NO_STOPS: dict[str, Any] = {
    "begins and breaks off": "gamma deltoid",
    "longer than the text": TEXT + "!",
    "the text's end begins it": "epsilon and more",
    "not in it": ["zeta", "eta theta"],
    "other case": "GAMMA",
}


@pytest.mark.parametrize("name", STOPS)
@pytest.mark.parametrize("url", [CHAT, COMPLETIONS])
def test_stop_strings_never_leak(echo: httpx.Client, url: str, name: str) -> None:
    """An answer ends before its first stop string, with reason stop, however the string lies over tokens;
    no piece of it is ever sent. Streamed and whole answers agree."""
    stop, expected = STOPS[name]
    body = chat(TEXT, prompt=TEXT, stop=stop)
    events = stream(echo, body, url)
    assert text_of(events) == expected
    assert reasons_of(events)[-1] == "stop"
    choice = echo.post(url, json={**body, "stream": False}).json()["choices"][0]
    assert (choice.get("text") if url == COMPLETIONS else choice["message"]["content"]) == expected
    assert choice["finish_reason"] == "stop"


@pytest.mark.parametrize("name", NO_STOPS)
def test_text_that_only_looks_like_a_stop_string(echo: httpx.Client, name: str) -> None:
    """Text that was held back because it might have become a stop string is sent when it did not."""
    events = stream(echo, chat(TEXT, stop=NO_STOPS[name]))
    assert text_of(events) == TEXT
    assert reasons_of(events)[-1] == "stop"


def test_held_back_text_at_the_limit(echo: httpx.Client) -> None:
    """Held-back text is sent when max_tokens ends the answer, with reason length."""
    events = stream(echo, chat(TEXT, stop="gamma delta epsilon zeta", max_tokens=4))
    assert text_of(events) == "alpha beta gamma delta "
    assert reasons_of(events)[-1] == "length"


# --- characters -------------------------------------------------------------------------------------

CHARACTERS = {
    "emoji": "👍 🤷🏽‍♀️ 👨‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 😀😃😄",
    "CJK": "你好，世界。 日本語のテキスト 한국어 텍스트",
    "combining": "e\u0301 n\u0303 a\u0308\u0301 \u0e01\u0e33\u0e49 क्षि",
    "right to left": "שלום עולם مرحبا بالعالم",
    "line separators": "a\u2028b\u2029c\u0085d\r\ne\nf\tg\x0bh",
    "what looks like events": 'data: [DONE]\n\ndata: {"x": 1}\n\n: comment',
    "quotes and escapes": '"quoted" back\\slash \\u0041 </script> \u0000 \u001f \u007f',
    "beyond the BMP": "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𐍈 \U0010ffff",
}


@pytest.mark.parametrize("name", CHARACTERS)
def test_characters_come_back_unbroken(echo: httpx.Client, name: str) -> None:
    """Whatever the characters, streamed and whole answers carry them as they were sent."""
    text = CHARACTERS[name]
    assert text_of(stream(echo, chat(text))) == text
    whole = echo.post(CHAT, json=chat(text, stream=False)).json()
    assert whole["choices"][0]["message"]["content"] == text


@pytest.mark.model
@pytest.mark.parametrize("name", ["emoji", "CJK", "combining", "beyond the BMP"])
def test_the_real_model_sends_whole_characters(model: httpx.Client, name: str) -> None:
    """Where one character is several tokens, no event carries a part of it: the streamed pieces are valid
    text, the echoed prompt comes back as it was, and the pieces are the whole answer of the same seed."""
    text = CHARACTERS[name]

    def body(subject: str) -> dict[str, Any]:
        prompt = f"{subject}: " + f"{text}\n" * 3
        return {"model": MODEL, "prompt": prompt, "max_tokens": 16, "temperature": 0, "echo": True}

    def in_pieces(subject: str) -> str:
        events = stream(model, body(subject), COMPLETIONS)
        assert events[0]["choices"][0]["text"] == body(subject)["prompt"]
        assert all("\ufffd" not in event["choices"][0]["text"] for event in events[1:-2])
        return text_of(events)

    def once(subject: str) -> str:
        return str(model.post(COMPLETIONS, json=body(subject)).json()["choices"][0]["text"])

    assert alike(once, in_pieces)


# --- the real model ---------------------------------------------------------------------------------


def prompt(text: str = "Tell me a story.", **parameters: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"model": MODEL, "messages": messages, "seed": 7, "max_tokens": 24, **parameters}


def whole(client: httpx.Client, body: dict[str, Any]) -> Any:
    response = client.post(CHAT, json=body)
    assert response.status_code == 200, response.text
    return response.json()["choices"][0]


@pytest.mark.model
@pytest.mark.parametrize(
    "parameters",
    [{}, {"temperature": 0}, {"stop": "."}, {"stop": ["e", "zz"]}, {"top_k": 5, "presence_penalty": 1}],
    ids=str,
)
def test_the_pieces_are_the_whole_answer(model: httpx.Client, parameters: dict[str, Any]) -> None:
    """For one seed a stream's pieces put together are the answer that comes whole, end included."""

    def body(subject: str) -> dict[str, Any]:
        return prompt(f"Tell me a story about {subject}.", max_tokens=5, **parameters)

    def once(subject: str) -> tuple[str, str]:
        choice = whole(model, body(subject))
        return choice["message"]["content"], choice["finish_reason"]

    def in_pieces(subject: str) -> tuple[str, str | None]:
        events = stream(model, body(subject))
        return text_of(events), reasons_of(events)[-1]

    assert alike(once, in_pieces)


@pytest.mark.model
def test_stop_strings_of_the_real_model(model: httpx.Client) -> None:
    """Any piece of a known answer stops it there, also over token borders, and its log probabilities end
    with the text: none of the stop string's tokens is among them."""
    # So often repeated that the model is sure of each token (nine in ten, and more): what is cached, and computed
    # beside it, changes the last digits of its arithmetic.
    known = "one two three four five " * 20 + "one two"
    body = {"model": MODEL, "prompt": known, "temperature": 0, "max_tokens": 16}
    full = model.post(COMPLETIONS, json=body).json()["choices"][0]["text"]
    assert full.startswith(" three four five one two three")
    for start, length in ((2, 3), (5, 7), (9, 12), (18, 1)):
        stop = full[start : start + length]
        expected = full[: full.index(stop)]
        events = stream(model, body | {"stop": stop, "logprobs": 1}, COMPLETIONS)
        assert text_of(events) == expected
        assert reasons_of(events)[-1] == "stop"
        tokens = [t for e in events for c in e["choices"] if c["logprobs"] for t in c["logprobs"]["tokens"]]
        assert expected.startswith("".join(tokens))


@pytest.mark.model
def test_streamed_tool_calls(model: httpx.Client) -> None:
    """A streamed call: an integer index, first its id, type and name, then fragments of arguments that
    make valid JSON, one end with reason tool_calls, and no text beside it."""
    parameters = {
        "type": "object",
        "properties": {"n": {"enum": [1, 2]}},
        "required": ["n"],
        "additionalProperties": False,
    }
    tools = [{"type": "function", "function": {"name": "pick", "parameters": parameters}}]
    body = prompt("Pick one.", tools=tools, tool_choice="required", parallel_tool_calls=False, max_tokens=64)
    events = stream(model, body)
    deltas = [c for e in events for choice in e["choices"] for c in choice["delta"].get("tool_calls", [])]
    assert {delta["index"] for delta in deltas} == {0}
    assert deltas[0]["type"] == "function"
    assert deltas[0]["id"].startswith("call_")
    assert deltas[0]["function"]["name"] == "pick"
    assert isinstance(deltas[0]["function"]["arguments"], str)
    assert all(set(delta) == {"index", "function"} and "name" not in delta["function"] for delta in deltas[1:])
    assert json.loads("".join(delta["function"]["arguments"] for delta in deltas))["n"] in (1, 2)
    assert reasons_of(events)[-1] == "tool_calls"
    assert text_of(events) == ""


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left_running(echo: httpx.Client) -> Iterator[None]:
    """After all these streams, finished and broken off, the engine has nothing to do."""
    yield
    assert becomes(echo, "running", 0)
    assert becomes(echo, "waiting", 0)

"""Streams that outlive their connections: numbered events, on_disconnect, and coming back for the rest."""

import json
import re
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.conversation import CHAT, FAILING_CHAT, StoredServer, bearer, messages_of, new_conversation
from support.raw_http import connect
from support.server import ServerProcess, http_client

pytestmark = pytest.mark.slow

TEXT = " ".join(f"word{number}" for number in range(100))
LONG = " ".join(f"word{number}" for number in range(400))
DONE = b"data: [DONE]\n\n"
_SIZE = re.compile(rb"([0-9a-f]+)\r\n")


def asked(text: str = TEXT, **fields: Any) -> dict[str, Any]:
    """A request whose answer takes 20 ms a word, and is made to its end."""
    messages = [{"role": "user", "content": text}]
    return {"model": "slow", "messages": messages, "stream": True, "on_disconnect": "finish"} | fields


def events(url_of: str) -> str:
    return f"{CHAT}/{url_of}/events"


def without_comments(data: bytes) -> bytes:
    """The complete events of a stream's beginning."""
    complete, _, _cut_off = re.sub(rb"^:.*\n", b"", data, flags=re.MULTILINE).rpartition(b"\n\n")
    return complete + b"\n\n" if complete else b""


def numbers(data: bytes) -> list[int]:
    return [int(number) for number in re.findall(rb"^id: (\d+)$", data, re.MULTILINE)]


def data_of(data: bytes) -> list[Any]:
    lines = [line[6:] for line in data.splitlines() if line.startswith(b"data: ")]
    return [json.loads(line) for line in lines if line != b"[DONE]"]


def text_of(data: bytes) -> str:
    chunks = [chunk for chunk in data_of(data) if "choices" in chunk]
    return "".join(c["delta"].get("content", "") for chunk in chunks for c in chunk["choices"])


def dechunked(received: bytes) -> bytes:
    """The body of a chunked response, as far as whole chunks of it came."""
    _, _, rest = received.partition(b"\r\n\r\n")
    body = b""
    while (size := _SIZE.match(rest)) and len(rest) >= size.end() + int(size[1], 16) + 2:
        start, length = size.end(), int(size[1], 16)
        body, rest = body + rest[start : start + length], rest[start + length + 2 :]
    return body


def cut_off(url: str, body: dict[str, Any], after: int, path: str = CHAT, **headers: str) -> bytes:
    """Begin a stream on a raw socket, and reset the connection after some events; returns what came."""
    content = json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    received = b""
    with connect(url) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + content)
        while len(numbers(without_comments(dechunked(received)))) < after:
            piece = connection.recv(4096)
            assert piece, received
            received += piece
        # No orderly end: the server meets a reset.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return without_comments(dechunked(received))


def resumed(client: httpx.Client, stream_id: str, after: int | str | None = None) -> httpx.Response:
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    return client.get(events(stream_id), headers=headers)


def whole(client: httpx.Client, stream_id: str) -> bytes:
    """All events of a stream, to its end."""
    answer = resumed(client, stream_id)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache, no-store"
    return without_comments(answer.content)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


@contextmanager
def listening(client: httpx.Client, stream_id: str, after: int) -> Iterator[Iterator[str]]:
    """A reader in the middle of a stream."""
    with client.stream("GET", events(stream_id), headers={"Last-Event-ID": str(after)}) as response:
        assert response.status_code == 200
        yield response.iter_lines()


# --- coming back ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [1, 7])
def test_what_was_missed_comes(echo_server: ServerProcess, echo: httpx.Client, after: int) -> None:
    """A connection that is reset in mid-stream loses nothing: what came before and what comes after it is
    resumed are together, byte for byte, the whole stream."""
    first = cut_off(echo_server.url, asked(), after)
    stream_id, got = data_of(first)[0]["id"], numbers(first)
    assert got == list(range(1, len(got) + 1))
    second = resumed(echo, stream_id, got[-1])
    assert second.status_code == 200
    union = first + without_comments(second.content)
    assert union == whole(echo, stream_id)
    assert union.endswith(DONE)
    assert text_of(union) == TEXT
    assert numbers(union) == list(range(1, len(numbers(union)) + 1))
    assert {chunk["id"] for chunk in data_of(union)} == {stream_id}


def test_cut_off_again_and_again(echo_server: ServerProcess, echo: httpx.Client) -> None:
    """Readers that come and go in mid-stream do not end it, and each goes on where the last one was."""
    first = cut_off(echo_server.url, asked(), 2)
    stream_id, heard = data_of(first)[0]["id"], numbers(first)
    for _ in range(5):
        with listening(echo, stream_id, heard[-1]) as lines:
            heard += [int(line[4:]) for line, _ in zip(lines, range(9), strict=False) if line.startswith("id: ")]
    rest = without_comments(resumed(echo, stream_id, heard[-1]).content)
    assert heard + numbers(rest) == numbers(whole(echo, stream_id))
    assert text_of(whole(echo, stream_id)) == TEXT


def test_many_readers_at_once(echo_server: ServerProcess, echo: httpx.Client) -> None:
    """The client that asked and eight that resume at once all get the same."""
    with echo.stream("POST", CHAT, json=asked()) as response:
        lines = response.iter_lines()
        stream_id = next(json.loads(line[6:])["id"] for line in lines if line.startswith("data: "))
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: whole(echo, stream_id), range(8)))
        rest = [line for line in lines if line.startswith("data: ")]
    assert len(set(found)) == 1
    assert text_of(found[0]) == TEXT
    assert rest[-1] == "data: [DONE]"


def test_by_query_for_browsers(echo_server: ServerProcess, echo: httpx.Client) -> None:
    """A browser's EventSource can't send headers at first: the query does; a header counts more."""
    stream_id = data_of(cut_off(echo_server.url, asked(), 1))[0]["id"]
    everything = whole(echo, stream_id)
    last = numbers(everything)[-1]
    by_query = echo.get(events(stream_id), params={"last_event_id": str(last - 1)})
    assert numbers(by_query.content) == [last]
    both = echo.get(events(stream_id), params={"last_event_id": "1"}, headers={"Last-Event-ID": str(last)})
    assert both.content == DONE


def test_numbers_that_there_are_not(echo_server: ServerProcess, echo: httpx.Client) -> None:
    """Garbage, and numbers beyond the end, are refused with 400; the last number itself gets the end."""
    stream_id = data_of(cut_off(echo_server.url, asked(), 1))[0]["id"]
    last = numbers(whole(echo, stream_id))[-1]
    for wrong in ("x", "-1", "1.5", "0x1", "9" * 30, "1 2", str(last + 1)):
        answer = resumed(echo, stream_id, wrong)
        assert refusal(answer) == (400, "invalid_last_event_id")
        assert answer.json()["error"]["param"] == "Last-Event-ID"
    assert resumed(echo, stream_id, last).content == DONE


def test_a_number_beyond_what_there_is_so_far(echo_server: ServerProcess, echo: httpx.Client) -> None:
    """Also while the answer is being made, a client can't have got what was not sent."""
    stream_id = data_of(cut_off(echo_server.url, asked(), 1))[0]["id"]
    assert refusal(resumed(echo, stream_id, 90)) == (400, "invalid_last_event_id")
    assert text_of(whole(echo, stream_id)) == TEXT


def test_a_head_request_does_not_wait(echo_server: ServerProcess, echo: httpx.Client) -> None:
    """It only tells whether there is such a stream."""
    stream_id = data_of(cut_off(echo_server.url, asked(LONG), 1))[0]["id"]
    assert echo.head(events(stream_id)).status_code == 200
    assert echo.head(events("chatcmpl-unknown")).status_code == 404
    # Still under way: its last word is not there yet.
    assert refusal(resumed(echo, stream_id, 400)) == (400, "invalid_last_event_id")
    assert text_of(whole(echo, stream_id)) == LONG


# --- what can't be resumed --------------------------------------------------------------------------------


@pytest.mark.parametrize("choice", [{"on_disconnect": "cancel"}, {"on_disconnect": None}])
def test_a_stream_that_is_cancelled_is_not_kept(echo: httpx.Client, choice: dict[str, Any]) -> None:
    """Without `finish` a stream is gone with its client; the refusal says what would have helped."""
    answer = echo.post(CHAT, json=asked("one two", **choice))
    refused = resumed(echo, data_of(answer.content)[0]["id"])
    assert refusal(refused) == (404, "stream_not_kept")
    assert "on_disconnect 'finish'" in refused.json()["error"]["message"]


def test_cancelled_when_its_client_leaves(echo_server: ServerProcess, echo: httpx.Client) -> None:
    """`cancel` and nothing said: the model stops; with `finish` it does not."""
    for choice, ends in (({"on_disconnect": "cancel"}, True), ({"on_disconnect": "finish"}, False)):
        wait_for(lambda: running(echo) == 0)  # what an earlier test left to be finished
        before = finished(echo)
        cut_off(echo_server.url, asked(**choice), 2)
        wait_for(lambda: running(echo) == 0)
        assert (finished(echo) == before) is ends


def running(client: httpx.Client) -> float:
    return metric(client, 'jan_engine_running{model="slow"}')


def finished(client: httpx.Client) -> float:
    """Answers that came to their end."""
    return metric(client, 'jan_engine_finished_total{model="slow"}')


def metric(client: httpx.Client, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(name)), 0.0)


def test_an_unknown_choice(echo: httpx.Client) -> None:
    """The refusal of on_disconnect names its allowed values."""
    refused = echo.post(CHAT, json=asked(on_disconnect="wait"))
    assert refusal(refused) == (400, "invalid_value")
    assert refused.json()["error"]["param"] == "on_disconnect"


def test_a_stream_is_its_callers(stored_server: StoredServer, me: httpx.Client, somebody: httpx.Client) -> None:
    """Other users and anonymous callers find nothing, with the same words as for a stream that never existed."""
    stream_id = data_of(me.post(CHAT, json=asked("one two")).content)[0]["id"]
    assert text_of(whole(me, stream_id)) == "one two"
    with http_client(stored_server.process) as anonymous:
        for client in (somebody, anonymous):
            refused = resumed(client, stream_id)
            assert refusal(refused) == (404, "stream_not_kept")
            unknown = resumed(client, "chatcmpl-unknown")
            assert refused.json() == unknown.json()


@pytest.fixture
def tight_server(start_server: Callable[[str], ServerProcess]) -> ServerProcess:
    """A server that keeps little, and not for long."""
    return start_server(
        "streams: {max_bytes: 4000, keep_seconds: 1}\n"
        "models: [{id: slow, engine: echo, options: {step_seconds: 0.002}}]\n"
    )


def test_more_than_is_kept(tight_server: ServerProcess) -> None:
    """A reader that comes for events that were dropped hears so, and from where on it can have the rest."""
    with http_client(tight_server) as client:
        first = cut_off(tight_server.url, asked(), 1)
        stream_id = data_of(first)[0]["id"]
        wait_for(lambda: resumed(client, stream_id, 1).status_code == 404)
        refused = resumed(client, stream_id, 1)
        assert refusal(refused) == (404, "events_not_kept")
        found = re.search(r"up to (\d+)", refused.json()["error"]["message"])
        assert found is not None
        rest = resumed(client, stream_id, int(found[1]) + 10)
        assert rest.status_code == 200
        assert rest.content.endswith(DONE)


def test_after_its_time(tight_server: ServerProcess) -> None:
    """Some time after its end a stream is not kept any more."""
    with http_client(tight_server) as client:
        stream_id = data_of(client.post(CHAT, json=asked("one two")).content)[0]["id"]
        assert text_of(whole(client, stream_id)) == "one two"
        wait_for(lambda: resumed(client, stream_id).status_code == 404)
        assert refusal(resumed(client, stream_id)) == (404, "stream_not_kept")


# --- with all the rest ------------------------------------------------------------------------------------


def test_an_error_comes_again(stored_server: StoredServer, me: httpx.Client) -> None:
    """A stream that failed ends with the same error for whoever resumes it."""
    answer = me.post(FAILING_CHAT, json=asked())
    error = data_of(answer.content)[-1]["error"]
    assert error["message"] == "the model failed"
    stream_id = data_of(answer.content)[0]["id"]
    assert without_comments(resumed(me, stream_id).content) == without_comments(answer.content)


def test_a_refusal_is_a_refusal(echo: httpx.Client) -> None:
    """A refusal before the first event is a response of its own, streamed or not."""
    for stream in (True, False):
        refused = echo.post(CHAT, json=asked("word " * 5000, stream=stream))
        assert refusal(refused) == (400, "context_length_exceeded")


def test_without_a_stream(echo: httpx.Client) -> None:
    """A whole answer can be had as events as well, by the id that it has."""
    answer = echo.post(CHAT, json=asked("one two three", stream=False)).json()
    assert answer["choices"][0]["message"]["content"] == "one two three"
    replayed = whole(echo, answer["id"])
    assert text_of(replayed) == "one two three"
    assert data_of(replayed)[-1]["usage"] == answer["usage"]


def test_the_log_tells_what_a_finished_answer_took(start_limited: Callable[..., ServerProcess]) -> None:
    """Its client left before its end: the request has one line all the same, with all of its tokens."""
    server = start_limited()
    cut_off(server.url, asked(), 2)
    with http_client(server) as client:
        wait_for(lambda: finished(client) > 0)
    assert server.stop() == 0
    (line,) = [entry for entry in server.log if entry.get("route") == "chat.completions"]
    assert line["client_left"] is True
    assert line["prompt_tokens"] == line["completion_tokens"] == len(TEXT.split())
    assert line["queue_ms"] <= line["first_token_ms"]


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_in_a_conversation_is_finished(
    stored_server: StoredServer, me: httpx.Client, stream: bool
) -> None:
    """With `finish` the answer is stored whole though its client left, whether it was streamed or not."""
    made = new_conversation(me)
    body = asked(conversation_id=made, stream=stream)
    key = me.headers["authorization"].removeprefix("Bearer ")
    if stream:
        cut_off(stored_server.process.url, body, 3, **bearer(key))
    else:
        with connect(stored_server.process.url) as connection:
            content = json.dumps(body).encode()
            head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
            connection.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
            wait_for(lambda: len(messages_of(me, made)) == 2)
    wait_for(lambda: messages_of(me, made)[1]["status"] != "streaming")
    answer = messages_of(me, made)[1]
    assert (answer["status"], answer["content"]) == ("complete", TEXT)


@pytest.mark.parametrize(("grace", "status"), [("30", "complete"), ("0.1", "partial")])
def test_a_shutdown_waits_for_it(tmp_path: Path, grace: str, status: str) -> None:
    """A stream without a client counts: SIGTERM waits for it during the grace period and then ends it. The answer
    so far is stored."""
    server = StoredServer(tmp_path / "server", environ={"JAN__SERVER__GRACE_SECONDS": grace})
    try:
        with server.client() as client:
            made = new_conversation(client)
            cut_off(server.process.url, asked(conversation_id=made), 3, **bearer(server.key))
        assert server.process.stop() == 0
        server.start()
        with server.client() as client:
            answer = messages_of(client, made)[1]
            assert answer["status"] == status
            assert (answer["content"] == TEXT) is (status == "complete")
            assert TEXT.startswith(answer["content"])
        server.process.signal(signal.SIGTERM)
        assert server.process.wait() == 0
        assert server.process.errors() == []
    finally:
        server.process.kill_if_running()

"""Responses that are made in the background, on both stores."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from support.patience import until

from jan.testing import ThreadServer, served

CALL = '<tool_call>\n{"name": "list_files", "arguments": {"path": "/tmp"}}\n</tool_call>'
WORDS = "word " * 30
MODELS = """
models:
  - {id: echo, engine: echo, options: {tool_format: hermes, reasoning: auto, context: 400}}
  - {id: slow, engine: echo, options: {reasoning: auto, step_seconds: 0.02, repeat: 100, context: 100000}}
responses: {max_running: 2, max_queued_per_user: 3}
"""
TOOL = {
    "type": "function",
    "name": "list_files",
    "parameters": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
}
CUSTOM = {"type": "custom", "name": "run"}
CUSTOM_CALL = '<tool_call>\n{"name": "run", "arguments": {"input": "ls -l"}}\n</tool_call>'
ENDED = ("completed", "incomplete", "failed", "cancelled")


@pytest.fixture(scope="module")
def server(storage: str) -> Iterator[ThreadServer]:
    """A server in the process of the test, on a store of each kind in turn."""
    with served(MODELS + storage) as found:
        yield found
        assert found.errors == []


def post(client: httpx.Client, given: Any, **others: Any) -> httpx.Response:
    return client.post("/v1/responses", json={"model": "echo", "input": given, "background": True, **others})


def begin(client: httpx.Client, given: Any = WORDS, **others: Any) -> str:
    answer = post(client, given, **others)
    assert answer.status_code == 200, answer.text
    assert answer.json()["background"] is True
    return str(answer.json()["id"])


def get(client: httpx.Client, own: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/v1/responses/{own}").json()
    return found


def ended(client: httpx.Client, own: str) -> dict[str, Any]:
    """Return a response once it has ended."""
    assert until(lambda: get(client, own)["status"] in ENDED)
    return get(client, own)


def stream(client: httpx.Client, own: str, after: int | None = None) -> str:
    query = {"stream": "true"} if after is None else {"stream": "true", "starting_after": str(after)}
    return client.get(f"/v1/responses/{own}", params=query).text


def events_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]


def cancel(client: httpx.Client, own: str) -> dict[str, Any]:
    answer = client.post(f"/v1/responses/{own}/cancel")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def shape(response: dict[str, Any]) -> list[tuple[str, str]]:
    return [(item["type"], item["status"]) for item in response["output"]]


def test_a_response_is_queued_and_made(client: httpx.Client) -> None:
    """It is answered at once, ends by itself, and is what a response in the foreground is."""
    given = f"<think>hm</think>look {CALL}{CUSTOM_CALL}"
    asked = {"tools": [TOOL, CUSTOM], "instructions": "Be good.", "metadata": {"a": "b"}}
    queued = post(client, given, **asked).json()
    assert (queued["status"], queued["output"], queued["usage"]) == ("queued", [], None)
    made = ended(client, queued["id"])
    front = client.post("/v1/responses", json={"model": "echo", "input": given, **asked}).json()
    assert shape(made) == shape(front)
    own = {"id", "created_at", "completed_at", "background", "output"}
    assert {name: made[name] for name in set(made) - own} == {name: front[name] for name in set(front) - own}
    for mine, theirs in zip(made["output"], front["output"], strict=True):
        ids = {"id", "call_id"}
        assert {n: v for n, v in mine.items() if n not in ids} == {n: v for n, v in theirs.items() if n not in ids}
    [_, second] = client.get("/api/v1/conversations").json()["data"]
    assert second["message_count"] == 2
    messages = client.get(f"/api/v1/conversations/{second['id']}/messages").json()["data"]
    assert [message["status"] for message in messages] == ["complete", "complete"]


def test_a_stream_can_be_read_again_from_anywhere(client: httpx.Client) -> None:
    text = post(client, f"<think>hm</think>look {CALL}", tools=[TOOL], stream=True).text
    events = events_of(text)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:3]] == [
        "response.created",
        "response.queued",
        "response.in_progress",
    ]
    last = events[-1]
    assert last["type"] == "response.completed"
    own = last["response"]["id"]
    assert get(client, own) == last["response"]
    assert stream(client, own) == text
    for number in (0, 4, len(events) - 2):
        assert events_of(stream(client, own, number)) == events[number + 1 :]
    assert stream(client, own, len(events) - 1) == ""


def test_a_stream_is_followed_while_it_is_made(client: httpx.Client) -> None:
    """Whoever comes later gets the same bytes, up to the end."""
    own = begin(client, "word ", model="slow", max_output_tokens=60)
    assert until(lambda: get(client, own)["output"])
    with ThreadPoolExecutor(2) as threads:
        whole, rest = list(threads.map(lambda after: stream(client, own, after), (None, 6)))
    events = events_of(whole)
    assert events_of(rest) == events[7:]
    assert events[-1]["type"] == "response.incomplete"
    deltas = [event for event in events if event["type"] == "response.output_text.delta"]
    assert len(deltas) > 2
    assert "".join(event["delta"] for event in deltas) == "word " * 60
    assert events[-1]["response"]["usage"]["output_tokens"] == 60


def test_the_client_may_leave(client: httpx.Client) -> None:
    body = {"model": "slow", "input": "word ", "background": True, "stream": True, "max_output_tokens": 40}
    with client.stream("POST", "/v1/responses", json=body) as response:
        own = events_of(next(response.iter_text()))[0]["response"]["id"]
    assert ended(client, own)["usage"]["output_tokens"] == 40


def test_a_response_is_cancelled(client: httpx.Client) -> None:
    own = begin(client, "word ", model="slow")
    assert until(lambda: get(client, own)["output"])
    made = cancel(client, own)
    assert (made["status"], shape(made)) == ("cancelled", [("message", "incomplete")])
    assert made["usage"]["output_tokens"] > 0
    assert cancel(client, own) == get(client, own) == made
    events = events_of(stream(client, own))
    assert (events[-1]["type"], events[-1]["response"]) == ("response.incomplete", made)
    # Something can follow it, and the text stays as it is.
    text = made["output"][0]["content"][0]["text"]
    assert client.get(f"/v1/responses/{own}").json()["output"][0]["content"][0]["text"] == text
    follows = {"model": "echo", "input": "more", "previous_response_id": own}
    assert client.post("/v1/responses", json=follows).status_code == 200


def test_a_queued_response_is_cancelled(client: httpx.Client) -> None:
    """One that waits for its turn ends without an output, and uses no tokens."""
    running = [begin(client, "word ", model="slow") for _ in range(2)]
    assert until(lambda: all(get(client, own)["output"] for own in running))
    waiting = begin(client, "word ")
    assert get(client, waiting)["status"] == "queued"
    made = cancel(client, waiting)
    assert (made["status"], made["output"], made["usage"]) == ("cancelled", [], None)
    types = [event["type"] for event in events_of(stream(client, waiting))]
    assert types == ["response.created", "response.queued", "response.incomplete"]
    for own in running:
        cancel(client, own)


def test_a_full_queue_refuses(client: httpx.Client) -> None:
    waiting = [begin(client, "word ", model="slow") for _ in range(3)]
    refused = post(client, "one")
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_background_responses")
    assert int(refused.headers["retry-after"]) > 0
    assert len(client.get("/api/v1/conversations").json()["data"]) == 3
    for own in waiting:
        cancel(client, own)
    assert ended(client, begin(client))["status"] == "completed"


def test_a_response_is_deleted_while_it_is_made(client: httpx.Client) -> None:
    own = begin(client, "word ", model="slow")
    assert until(lambda: get(client, own)["output"])
    assert client.delete(f"/v1/responses/{own}").status_code == 200
    assert client.get(f"/v1/responses/{own}").status_code == 404
    assert client.get(f"/v1/responses/{own}?stream=true").status_code == 404


def test_a_conversation_is_deleted_while_a_response_is_made(client: httpx.Client) -> None:
    own = begin(client, "word ", model="slow")
    assert until(lambda: get(client, own)["output"])
    [conversation] = client.get("/api/v1/conversations").json()["data"]
    with client.stream("GET", f"/v1/responses/{own}?stream=true") as response:
        pieces = response.iter_text()
        assert "response.created" in next(pieces)
        assert client.delete(f"/api/v1/conversations/{conversation['id']}").status_code == 200
        assert events_of("".join(pieces))[-1]["type"] == "error"
    assert ended(client, begin(client))["status"] == "completed"


def test_a_response_follows_others(client: httpx.Client) -> None:
    first = begin(client, "one ")
    ended(client, first)
    second = ended(client, begin(client, "two ", previous_response_id=first))
    assert second["usage"]["input_tokens"] == 3
    own = client.post("/api/v1/conversations", json={}).json()["id"]
    third = ended(client, begin(client, "three ", conversation=own))
    assert third["conversation"] == {"id": own}


def test_a_response_that_is_being_made_is_not_followed(client: httpx.Client) -> None:
    """What it says is not known yet. A message before it can be followed meanwhile."""
    conversation = client.post("/v1/conversations", json={"items": [{"role": "user", "content": "zero"}]}).json()
    first = begin(client, "word " * 100, model="slow", conversation=conversation["id"])
    for background in (True, False):
        for param, place in (("previous_response_id", first), ("conversation", conversation["id"])):
            refused = client.post(
                "/v1/responses", json={"model": "echo", "input": "two", "background": background, param: place}
            )
            assert refused.status_code == 409, refused.text
            error = refused.json()["error"]
            assert (error["code"], error["param"]) == ("response_in_progress", param)
    branch = begin(client, "two", conversation=conversation["id"], parent_message_id=conversation["head_id"])
    assert ended(client, branch)["usage"]["input_tokens"] == 2
    cancel(client, first)
    assert ended(client, begin(client, "three", previous_response_id=first))["status"] == "completed"


def test_a_refused_response_changes_nothing(client: httpx.Client) -> None:
    for status, change in (
        (400, {"input": "word " * 500}),
        (400, {"input": []}),
        (404, {"model": "none"}),
        (404, {"conversation": "conv_none"}),
        (404, {"previous_response_id": "resp_none"}),
        (400, {"store": False}),
        (400, {"tool_choice": "required"}),
    ):
        refused = post(client, "one", **change)
        assert refused.status_code == status, refused.text
    assert client.get("/api/v1/conversations").json()["data"] == []


def test_what_was_not_made_in_the_background_is_not_followed(client: httpx.Client) -> None:
    made = client.post("/v1/responses", json={"model": "echo", "input": "one"}).json()
    for method, url in (("POST", f"{made['id']}/cancel"), ("GET", f"{made['id']}?stream=true")):
        assert client.request(method, f"/v1/responses/{url}").status_code == 400
    assert client.post("/v1/responses/resp_none/cancel").status_code == 404
    refused = client.get(f"/v1/responses/{made['id']}?starting_after=3")
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "starting_after")


def test_others_and_strangers_get_nothing(client: httpx.Client, server: ThreadServer) -> None:
    own = begin(client)
    stranger, other = server.connect(), server.connect(server.add_user())
    assert post(stranger, "one").json()["error"]["code"] == "missing_credentials"
    for url in (own, f"{own}?stream=true"):
        assert other.get(f"/v1/responses/{url}").status_code == 404
    assert other.post(f"/v1/responses/{own}/cancel").status_code == 404
    narrow = server.connect(server.add_user("inference"))
    assert post(narrow, "one").status_code == 403


def test_a_revoked_key_ends_its_response(client: httpx.Client, server: ThreadServer, key: str) -> None:
    made = client.post("/api/v1/user/api-keys", json={"name": "second"}).json()
    own = begin(server.connect(made["key"]), "word ", model="slow")
    assert until(lambda: get(client, own)["output"])
    assert client.delete(f"/api/v1/user/api-keys/{made['id']}").status_code == 200
    found = ended(client, own)
    assert (found["status"], found["error"]["code"]) == ("failed", "server_error")
    error, last = events_of(stream(client, own))[-2:]
    assert (error["type"], error["code"], last["type"]) == ("error", "invalid_api_key", "response.failed")


def test_a_request_that_is_sent_again_is_queued_once(client: httpx.Client) -> None:
    body = {"model": "slow", "input": "word ", "background": True, "max_output_tokens": 20}
    for change in ({}, {"stream": True}):
        headers = {"Idempotency-Key": f"{client.headers['Authorization'][-20:]}-{len(change)}"}
        first, again = (client.post("/v1/responses", json={**body, **change}, headers=headers) for _ in range(2))
        assert again.headers["Idempotent-Replayed"] == "true"
        assert again.content == first.content
    assert len(client.get("/api/v1/conversations").json()["data"]) == 2


def test_a_key_that_is_revoked_while_a_response_waits(client: httpx.Client, server: ThreadServer) -> None:
    """Rights are looked up again before a response is begun."""
    made = client.post("/api/v1/user/api-keys", json={"name": "second"}).json()
    running = [begin(client, "word ", model="slow") for _ in range(2)]
    assert until(lambda: all(get(client, own)["output"] for own in running))
    waiting = begin(server.connect(made["key"]), "one")
    assert client.delete(f"/api/v1/user/api-keys/{made['id']}").status_code == 200
    for own in running:
        cancel(client, own)
    found = ended(client, waiting)
    assert (found["status"], found["output"], found["usage"]) == ("failed", [], None)


def test_a_budget_holds_as_for_others() -> None:
    """A response that a budget has no room for is refused at once, and leaves nothing."""
    limits = "limits: {user: {tokens_per_minute: 50}, authenticated: 'off', inference: 'off'}\n"
    with served(MODELS + limits) as server:
        client = server.connect(server.add_user())
        refused = post(client, "word " * 30, max_output_tokens=30)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        made = ended(client, begin(client, "word " * 10, max_output_tokens=10))
        assert made["usage"]["total_tokens"] == 20
        assert post(client, "word " * 10, max_output_tokens=30).status_code == 429
        assert ended(client, begin(client, "word " * 10, max_output_tokens=20))["status"] == "completed"
        assert post(client, "one").status_code == 429
        assert len(client.get("/api/v1/conversations").json()["data"]) == 2


def test_reasoning_is_encrypted_alike_each_time(client: httpx.Client) -> None:
    include = ["reasoning.encrypted_content"]
    text = post(client, "<think>hm</think>so", include=include, stream=True).text
    last = events_of(text)[-1]["response"]
    assert last["output"][0]["encrypted_content"]
    assert get(client, last["id"]) == last
    assert stream(client, last["id"]) == text


def test_log_probabilities_are_named_as_left_out(client: httpx.Client) -> None:
    answer = post(client, "one", top_logprobs=2, include=["message.output_text.logprobs"])
    assert answer.headers["x-jan-ignored"] == "include[0], top_logprobs"
    assert ended(client, answer.json()["id"])["status"] == "completed"


def test_what_is_used_is_counted_once(client: httpx.Client) -> None:
    ended(client, begin(client, "one two three "))
    cancelled = begin(client, "word ", model="slow")
    assert until(lambda: get(client, cancelled)["output"])
    cancel(client, cancelled)

    def rows() -> dict[str, Any]:
        return {row["model"]: row for row in client.get("/api/v1/usage").json()["data"]}

    assert until(lambda: len(rows()) == 2)
    found = rows()
    assert (found["echo"]["requests"], found["echo"]["total_tokens"]) == (1, 6)
    assert (found["slow"]["requests"], found["slow"]["prompt_tokens"]) == (1, 1)


@pytest.mark.filterwarnings("error")
def test_openais_sdk_accumulates(sdk: openai.OpenAI) -> None:
    with sdk.responses.stream(model="echo", input=WORDS, background=True) as events:
        first = [event.type for event in events]
        final = events.get_final_response()
    assert first[0] == "response.created"
    assert final.output_text == WORDS
    again = sdk.responses.retrieve(final.id, stream=True)
    assert [event.sequence_number for event in again] == list(
        range(len(list(sdk.responses.retrieve(final.id, stream=True))))
    )
    rest = list(sdk.responses.retrieve(final.id, stream=True, starting_after=2))
    assert rest[0].sequence_number == 3
    with sdk.responses.stream(response_id=final.id, starting_after=2) as resumed:
        assert [event.type for event in resumed][-1] == "response.completed"
    waiting = sdk.responses.create(model="slow", input="word ", background=True)
    assert sdk.responses.cancel(waiting.id).status == "cancelled"


@pytest.mark.parametrize("html", ["", "&include_html=true"])
def test_an_error_has_the_number_of_the_last_event(tmp_path: Path, html: str) -> None:
    """A client that resumes while the server stops goes on after the same event: nothing comes twice."""
    held = f"engine: support.counting.Counting, options: {{gate: {tmp_path}/open}}"
    with served(f"models: [{{id: echo, {held}}}]") as server:
        client = server.connect(server.add_user())
        own = begin(client, "one gate two")
        assert until(lambda: get(client, own)["output"])

        async def stop() -> None:
            server.application.services.background.close()

        server.run(stop())
        for after, last in ((3, 5), (5, 5), (7, 7)):
            answer = client.get(f"/v1/responses/{own}?stream=true&starting_after={after}{html}")
            *_, error = events_of(answer.text)
            assert (error["code"], error["sequence_number"]) == ("shutting_down", last)


def test_a_half_made_call_is_made_anew_after_a_stop(tmp_path: Path) -> None:
    """The call that was under way is dropped by an event, and the next start makes it anew."""
    path = "/tmp/" + "sub folder/" * 200
    call = f'<tool_call>\n{{"name": "list_files", "arguments": {{"path": "{path}"}}}}\n</tool_call>'
    slow, fast = (
        f"models: [{{id: echo, engine: echo, options: {{tool_format: hermes, step_seconds: {seconds}}}}}]"
        for seconds in (0.1, 0)
    )
    with served(slow, data=tmp_path) as server:
        key = server.add_user()
        own = begin(server.connect(key), call, tools=[TOOL])
        with server.connect(key).stream("GET", f"/v1/responses/{own}?stream=true") as response:
            seen = ""
            for piece in response.iter_text():
                seen += piece
                if "function_call_arguments.delta" in seen:
                    break
    with served(fast, data=tmp_path) as server:
        client = server.connect(key)
        text = stream(client, own)
        assert text.startswith(seen)
        events = events_of(text)
        dropped = next(event for event in events if event["type"] == "response.output_item.dropped")
        [done] = [event for event in events if event["type"] == "response.output_item.done"]
        assert (dropped["output_index"], done["output_index"]) == (0, 1)
        assert json.loads(done["item"]["arguments"]) == {"path": path}
        made = get(client, own)
        assert (made["status"], made["output"]) == ("completed", [done["item"]])
        assert server.errors == []

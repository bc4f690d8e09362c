"""Chats in a stored conversation that are refused, or end before their first token; on both stores."""

import asyncio
import json
import os
import secrets
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from support import templates
from support.conversation import CHAT, CONVERSATIONS, chat, messages_of, new_conversation
from support.mongodb import mongo_client

from jan.engine.backends.echo import EchoBackend
from jan.engine.base import JobId, Output
from jan.handler import GeneratedAnswer, HookContext
from jan.schema.stored_items import items_made_of
from jan.storage import Store, store_from_url
from jan.storage.records import ConversationRecord, MessageRecord
from jan.testing import ThreadServer, served

pytest.importorskip("cyllama")
pytestmark = pytest.mark.model

from support.tiny_gguf import write_tiny_gguf  # noqa: E402

T = TypeVar("T")

# ChatML that refuses one word, as templates refuse what they have no form for.
_RULE = "{% if 'forbidden' in m.content %}{{ raise_exception('No.') }}{% endif %}"
PICKY = templates.PLAIN.replace("{{ '<|im_start|>'", _RULE + "{{ '<|im_start|>'")
LONG = "word " * 5000
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
STRICT = {"type": "json_schema", "json_schema": {"name": "s", "strict": True, "schema": {"not": {"type": "null"}}}}
STREAMS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


class FailingBackend(EchoBackend):
    """Repeats what it gets, and fails as a whole at the word "fail"."""

    def step(self) -> list[tuple[JobId, Output]]:
        if any(job.next_word == "fail" for job in self._jobs.values()):
            raise RuntimeError("the word is there")
        return super().step()


def models(folder: Any) -> list[dict[str, Any]]:
    slow = {"slots": 1, "step_seconds": 0.02}
    tiny = [
        {
            "id": name,
            "engine": "llamacpp",
            "load": "lazy",
            "options": {
                "model": str(write_tiny_gguf(folder / f"{name}.gguf", {"default": source})),
                "threads": 1,
                "slots": 1,
            },
        }
        for name, source in (("picky", PICKY), ("strict", templates.NO_SYSTEM))
    ]
    return [
        {"id": "echo", "engine": "echo"},
        {"id": "full", "engine": "echo", "max_waiting": 1, "options": slow},
        {"id": "late", "engine": "echo", "queue_timeout_seconds": 0.2, "options": slow},
        {"id": "short", "engine": "echo", "options": {"context": 40}},
        {"id": "failing", "engine": f"{__name__}.FailingBackend"},
        *tiny,
    ]


@pytest.fixture(scope="module", params=["sqlite", "mongodb"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThreadServer]:
    """A server with models that refuse and fail in every way, on a store of each backend in turn."""
    settings = f"models: {json.dumps(models(tmp_path_factory.mktemp('gguf')))}\n"
    url = None
    if request.param == "mongodb":
        pytest.importorskip("motor")
        url = request.getfixturevalue("mongodb_url")(f"jan_test_{secrets.token_hex(6)}")
        settings += f"storage: {{url: '{url}'}}\n"
    with served(settings) as server:
        yield server
    if url is not None:
        with mongo_client(url) as client:
            client.drop_database(client.get_default_database().name)


@pytest.fixture
def me(server: ThreadServer) -> httpx.Client:
    """A person of the test's own."""
    return server.connect(server.add_user())


def state_of(server: ThreadServer, me: httpx.Client, conversation: str) -> tuple[bytes, Any]:
    """All there is of a conversation: as exported, and its record with times in milliseconds."""

    async def record(store: Store) -> ConversationRecord:
        return (await store.archive.matching(ConversationRecord, [conversation]))[0]

    return me.get(f"{CONVERSATIONS}/{conversation}/export").content, in_store(server, record)


def in_store(server: ThreadServer, work: Callable[[Store], Awaitable[T]]) -> T:
    """The result of some work on the server's store, beside the server."""

    async def opened() -> T:
        store = store_from_url(server.application.services.settings.storage_url)
        await store.open()
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(opened())


def said(me: httpx.Client, conversation: str) -> list[tuple[str, Any, str]]:
    return [(m["role"], m["content"], m["status"]) for m in messages_of(me, conversation)]


def code_of(answer: httpx.Response) -> str:
    """The code of an error, also of one that ends a stream."""
    if answer.status_code == 200:
        (line,) = [line for line in answer.text.splitlines() if line.startswith('data: {"error"')]
        return str(json.loads(line.removeprefix("data: "))["error"]["code"])
    return str(answer.json()["error"]["code"])


def insert(server: ThreadServer, me: httpx.Client, conversation: str, *records: dict[str, Any]) -> list[str]:
    """Append messages through the store, as older versions left them; returns their ids."""

    async def append(store: Store) -> list[str]:
        owner = (await store.archive.matching(ConversationRecord, [conversation]))[0].user_id
        ids = []
        for record in records:
            items = items_made_of(record["content"])
            message = MessageRecord(conversation_id=conversation, role=record["role"], items=items)
            ids.append((await store.messages.append(owner, message, at_head=True)).id)
        return ids

    return in_store(server, append)


@contextmanager
def occupied(me: httpx.Client, model: str) -> Iterator[None]:
    """While somebody's answer takes the model's only slot."""
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": "word " * 2000}]}
    with me.stream("POST", CHAT, json=body) as response:
        lines = response.iter_lines()
        while "word" not in next(lines):
            pass
        yield
        response.close()


def ask(content: Any = "hello", **fields: Any) -> dict[str, Any]:
    return {"model": "echo", "max_tokens": 5, "messages": [{"role": "user", "content": content}], **fields}


REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "too long": (ask(LONG), 400, "context_length_exceeded"),
    "an image": (ask([IMAGE]), 400, "unsupported_content"),
    "no formats": (ask(response_format=STRICT), 400, "invalid_request"),
    "a format that can't be enforced": (ask(model="picky", response_format=STRICT), 400, "invalid_schema"),
    "a token beyond the vocabulary": (ask(model="picky", logit_bias={"999999": 1}), 400, "invalid_request"),
    "the same with a strict template": (ask(model="strict", logit_bias={"999999": 1}), 400, "invalid_request"),
    "a template that refuses": (ask("forbidden", model="picky"), 400, "unsupported_messages"),
    "a variable of no template": (ask(chat_template_kwargs={"nobody": 1}), 400, "invalid_value"),
    "no such model": (ask(model="nobody"), 404, "model_not_found"),
    "no such parent": (ask(parent_message_id="msg_1"), 404, "not_found"),
    "functions of the older form": (ask(functions=[{"name": "f"}]), 400, "invalid_value"),
    "several answers": (ask(n=2), 400, "invalid_value"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_request_changes_nothing(server: ThreadServer, me: httpx.Client, name: str) -> None:
    """The conversation is byte for byte what it was, and goes on; SDKs may send the request again."""
    body, status, code = REFUSED[name]
    made = new_conversation(me)
    before = state_of(server, me, made)
    for form in ({}, {"stream": True}, {"stream": True, "on_disconnect": "finish"}):
        answer = me.post(CHAT, json={**body, "conversation_id": made, **form})
        assert (answer.status_code, code_of(answer)) == (status, code), answer.text
        assert "x-jan-parent-message-id" not in answer.headers
    assert state_of(server, me, made) == before
    goes_on = chat(me, made, "hi", model=body["model"] if status == 400 else "echo", max_tokens=1)
    assert goes_on.status_code == 200
    assert [role for role, _, _ in said(me, made)] == ["user", "assistant"]


@STREAMS
def test_an_id_that_is_taken_changes_nothing(server: ThreadServer, me: httpx.Client, stream: bool) -> None:
    """An id of another message, and a message that is elsewhere already, are 409 before the model begins."""
    made, own = new_conversation(me), secrets.token_hex(16)
    first = chat(me, made, "one", message_id=own).json()["conversation"]
    chat(me, made, "two")
    before = state_of(server, me, made)
    for words, fields in (
        (["other"], {}),
        (["context", "one"], {}),
        (["one"], {"parent_message_id": first["message_id"]}),
    ):
        refused = chat(me, made, *words, message_id=own, stream=stream, **fields)
        assert (refused.status_code, refused.json()["error"]["param"]) == (409, "message_id")
    assert state_of(server, me, made) == before


@STREAMS
def test_a_budget_that_is_used_up_changes_nothing(server: ThreadServer, me: httpx.Client, stream: bool) -> None:
    """429, for a budget that the prompt alone exceeds; and nothing of it is spent."""
    key = {"name": "small", "permissions": ["read", "write", "inference"], "tokens_per_day": 20}
    small = server.connect(me.post("/api/v1/user/api-keys", json=key).json()["key"])
    made = new_conversation(small)
    before = state_of(server, small, made)
    for words in ("word " * 30, "word " * 15):
        refused = chat(small, made, words, stream=stream, max_tokens=10)
        assert (refused.status_code, code_of(refused)) == (429, "rate_limit_exceeded")
    assert state_of(server, small, made) == before
    assert chat(small, made, "word " * 10, max_tokens=10).status_code == 200


@STREAMS
def test_a_full_queue_changes_nothing(server: ThreadServer, me: httpx.Client, stream: bool) -> None:
    """503 overloaded, after which the client may send the same request again."""
    made = new_conversation(me)
    before = state_of(server, me, made)
    waiting = {"model": "full", "stream": True, "messages": [{"role": "user", "content": "a"}]}
    other = server.connect(server.add_user())
    with occupied(other, "full"), other.stream("POST", CHAT, json=waiting) as response:
        pieces = response.iter_raw()
        assert next(pieces)
        refused = chat(me, made, "hello", model="full", stream=stream)
    assert (refused.status_code, code_of(refused)) == (503, "overloaded")
    assert refused.headers["x-should-retry"] == "true"
    assert state_of(server, me, made) == before


class Ends:
    """A hook that is told of the end of answers; it says so in a file."""

    def after(self, context: HookContext, answer: GeneratedAnswer) -> None:
        with Path(os.environ["JAN_TEST_ENDS"]).open("a") as file:
            file.write(f"{answer.choices[0].text}\n")


def test_a_store_that_takes_no_writes_refuses_the_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 after the engine has accepted it: nothing is stored, no token counts and no hook sees an answer. A limit
    of requests that is used up changes nothing either."""
    ends = tmp_path / "ends"
    monkeypatch.setenv("JAN_TEST_ENDS", str(ends))
    limits = "{authenticated: 'off', anonymous: 'off', inference: 3/minute, user: {tokens_per_day: 1000}}"
    settings = f"storage: {{timeout_seconds: 0.2}}\nlimits: {limits}\n"
    with served(settings, hooks=[Ends], data=tmp_path / "data") as server:
        me = server.connect(server.add_user())
        made = new_conversation(me)
        before = state_of(server, me, made)
        file = server.application.services.settings.storage_url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for stream in (False, True):
                refused = chat(me, made, "one two", stream=stream)
                assert (refused.status_code, code_of(refused)) == (503, "storage_unavailable")
                assert "x-jan-parent-message-id" not in refused.headers
            other.execute("ROLLBACK")
        assert state_of(server, me, made) == before
        assert tokens_used(me) == 0
        assert not ends.exists()
        assert chat(me, made, "one two").status_code == 200
        assert (tokens_used(me), ends.read_text()) == (4, "one two\n")
        before = state_of(server, me, made)
        assert code_of(chat(me, made, "three")) == "rate_limit_exceeded"
        assert state_of(server, me, made) == before


def tokens_used(me: httpx.Client) -> int:
    """Tokens of the user's day."""
    limits = me.get("/api/v1/usage").json()["limits"]
    return int(next(limit["used"] for limit in limits if limit["name"] == "user_tokens_per_day"))


@STREAMS
def test_a_request_that_waits_too_long_keeps_its_question(
    server: ThreadServer, me: httpx.Client, stream: bool
) -> None:
    """It was accepted: the question is kept, its answer has failed, and the same message may be sent again."""
    made, own = new_conversation(me), secrets.token_hex(16)
    with occupied(server.connect(server.add_user()), "late"):
        failed = chat(me, made, "one two", model="late", stream=stream, message_id=own)
        assert code_of(failed) == "queue_timeout"
        if not stream:
            assert failed.status_code == 503
            assert failed.headers["x-jan-parent-message-id"] == own
    assert said(me, made) == [("user", "one two", "complete"), ("assistant", "", "failed")]
    assert chat(me, made, "one two", model="late", stream=stream, message_id=own).status_code == 200
    stored = messages_of(me, made)
    assert [(m["role"], m["content"], m["status"]) for m in stored[2:]] == [("assistant", "one two", "complete")]
    assert {m["parent_id"] for m in stored[1:]} == {own}
    assert chat(me, made, "three").json()["usage"]["prompt_tokens"] == 2 + 2 + 1


def test_a_question_whose_answer_failed_is_answered_again(server: ThreadServer, me: httpx.Client) -> None:
    """Without messages, and without naming it: an answer without a word is nothing to go on from."""
    made = new_conversation(me)
    chat(me, made, "one")
    for _ in range(2):
        chat(me, made, *(["fail"] if len(messages_of(me, made)) < 4 else []), model="failing")
    again = chat(me, made).json()
    stored = messages_of(me, made)
    assert [m["status"] for m in stored[3:]] == ["failed", "failed", "complete"]
    assert {m["parent_id"] for m in stored[3:]} == {stored[2]["id"]}
    assert (again["choices"][0]["message"]["content"], again["usage"]["prompt_tokens"]) == ("fail", 3)


@STREAMS
def test_a_model_that_fails_at_once_keeps_the_question(
    server: ThreadServer, me: httpx.Client, stream: bool
) -> None:
    """As above; without an id of its own the question can be answered by naming it, and SDKs do not repeat it."""
    made = new_conversation(me)
    failed = chat(me, made, "fail", model="failing", stream=stream)
    assert code_of(failed) == "internal_error"
    question, answer = messages_of(me, made)
    assert (answer["status"], answer["content"], answer["parent_id"]) == ("failed", "", question["id"])
    if not stream:
        assert failed.headers["x-jan-parent-message-id"] == question["id"]
        assert failed.headers["x-should-retry"] == "false"
    again = chat(me, made, parent_message_id=question["id"])
    assert again.json()["choices"][0]["message"]["content"] == "fail"
    assert chat(me, made).status_code == 400  # it has an answer now
    exported = me.get(f"{CONVERSATIONS}/{made}/export").content
    copy = me.post(f"{CONVERSATIONS}/import", content=exported, headers={"Content-Type": "application/jsonl"})
    assert said(me, copy.json()["id"]) == said(me, made)


def test_a_failure_after_the_first_token_leaves_a_partial_answer(server: ThreadServer, me: httpx.Client) -> None:
    """As far as it came, whatever ended it."""
    made = new_conversation(me)
    chat(me, made, "so fail", model="failing")
    assert said(me, made)[1:] == [("assistant", "so ", "partial")]


def test_a_client_that_leaves_the_queue_keeps_the_question(server: ThreadServer, me: httpx.Client) -> None:
    """Its request was accepted, so the question stays, and a second one is joined to it."""
    made = new_conversation(me)
    body = ask("one two", model="full", conversation_id=made, stream=True)
    with occupied(server.connect(server.add_user()), "full"), me.stream("POST", CHAT, json=body) as response:
        assert next(response.iter_raw())
    wait_until(lambda: said(me, made)[1:] == [("assistant", "", "failed")])
    assert chat(me, made, "three").json()["usage"]["prompt_tokens"] == 2 + 1


def wait_until(reached: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(600):
        if reached():
            return
        pause.wait(0.05)
    raise AssertionError("it does not come to pass")


def test_two_questions_at_once(server: ThreadServer, me: httpx.Client) -> None:
    """Each is answered for what was there before it, and stored below that with its own answer. An answer that was
    still being made counts as far as it was."""
    made = new_conversation(me)
    before = chat(me, made, "zero").json()["conversation"]["message_id"]
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda word: chat(me, made, word).json(), ["one", "two", "three", "four"]))
    stored = {message["id"]: message for message in messages_of(me, made)}
    assert len(stored) == 2 + 8
    for answer, word in zip(answers, ["one", "two", "three", "four"], strict=True):
        place = answer["conversation"]
        question = stored[place["parent_message_id"]]
        assert (question["content"], stored[place["message_id"]]["content"]) == (word, word)
        above = [stored[one] for one in path_to(stored, question["id"])]
        whole = 1 + sum(len(message["content"].split()) for message in above)
        unmade = len([message for message in above if message["role"] == "assistant" and message["id"] != before])
        assert whole - unmade <= answer["usage"]["prompt_tokens"] <= whole
        assert before in path_to(stored, question["id"])


def path_to(stored: dict[str, Any], message: str) -> list[str]:
    """The messages above one, nearest first."""
    path, parent = [], stored[message]["parent_id"]
    while parent is not None:
        path.append(parent)
        parent = stored[parent]["parent_id"]
    return path


def test_one_message_sent_twice_at_once(server: ThreadServer, me: httpx.Client) -> None:
    """The message is stored once. Each request has an answer below it, or is told that another one was first."""
    made, own = new_conversation(me), secrets.token_hex(16)
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: chat(me, made, "hello", message_id=own), range(4)))
    served_ones = [answer for answer in answers if answer.status_code == 200]
    assert served_ones
    for answer in answers:
        if answer.status_code != 200:
            assert (answer.status_code, answer.json()["error"]["param"]) == (409, "message_id")
    stored = messages_of(me, made)
    assert [m["id"] for m in stored if m["role"] == "user"] == [own]
    assert len(stored) == 1 + len(served_ones)


# --- conversations from before ----------------------------------------------------------------------


def test_unanswered_questions_are_joined_to_the_next(server: ThreadServer, me: httpx.Client) -> None:
    """Also for a template that insists on alternation: nothing is left out, and the model gets all of it."""
    made = new_conversation(me)
    insert(server, me, made, {"role": "user", "content": "one"}, {"role": "user", "content": "two"})
    answer = chat(me, made, "three", model="strict", max_tokens=1)
    assert answer.status_code == 200, answer.text
    assert "x-jan-left-out" not in answer.headers
    joined = chat(me, new_conversation(me), "one\n\ntwo\n\nthree", model="strict", max_tokens=1)
    assert answer.json()["usage"]["prompt_tokens"] == joined.json()["usage"]["prompt_tokens"]


@STREAMS
def test_what_can_never_be_served_is_left_out_and_named(
    server: ThreadServer, me: httpx.Client, stream: bool
) -> None:
    """Images for a model of text, and a question that is longer than the context alone: the rest goes on."""
    made = new_conversation(me)
    ids = insert(
        server,
        me,
        made,
        {"role": "user", "content": "before"},
        {"role": "user", "content": [{"type": "text", "text": "look"}, IMAGE]},
        {"role": "user", "content": LONG},
        {"role": "user", "content": [IMAGE]},
        {"role": "user", "content": "after"},
    )
    answer = chat(me, made, "hi", stream=stream, stream_options={"include_usage": True} if stream else None)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-jan-left-out"] == ", ".join(ids[1:4])
    assert messages_of(me, made)[-1]["usage"]["prompt_tokens"] == 3


def test_many_that_are_left_out_are_named_up_to_a_bound(server: ThreadServer, me: httpx.Client) -> None:
    """A header has an end."""
    made = new_conversation(me)
    ids = insert(server, me, made, *({"role": "user", "content": [IMAGE]} for _ in range(25)))
    assert chat(me, made, "hi").headers["x-jan-left-out"] == ", ".join(ids[:20])


def test_what_a_template_refuses_is_left_out_if_it_was_never_answered(
    server: ThreadServer, me: httpx.Client
) -> None:
    """A question that was refused before; an answered one stays, and its refusal is passed on."""
    made = new_conversation(me)
    (refused,) = insert(server, me, made, {"role": "user", "content": "forbidden"})
    answer = chat(me, made, "hi", model="picky", max_tokens=1)
    assert (answer.status_code, answer.headers["x-jan-left-out"]) == (200, refused)
    answered = new_conversation(me)
    chat(me, answered, "forbidden")
    before = state_of(server, me, answered)
    assert code_of(chat(me, answered, "hi", model="picky")) == "unsupported_messages"
    assert state_of(server, me, answered) == before


def test_a_question_that_was_refused_and_sent_again_counts_once(server: ThreadServer, me: httpx.Client) -> None:
    """Where all of its copies together are too long. Different ones are not left out."""
    made, question = new_conversation(me), "word " * 15
    ids = insert(server, me, made, *({"role": "user", "content": question} for _ in range(3)))
    answer = chat(me, made, question, model="short")
    assert (answer.status_code, answer.headers["x-jan-left-out"]) == (200, ", ".join(ids))
    other = new_conversation(me)
    insert(server, me, other, *({"role": "user", "content": f"{number} {question}"} for number in range(3)))
    assert code_of(chat(me, other, "hi", model="short")) == "context_length_exceeded"


def test_a_stored_question_that_can_not_be_served_is_refused(server: ThreadServer, me: httpx.Client) -> None:
    """Where it is the one to answer, it is not left out."""
    made = new_conversation(me)
    insert(server, me, made, {"role": "user", "content": "hi"}, {"role": "user", "content": [IMAGE]})
    refused = chat(me, made)
    assert (code_of(refused), refused.json()["error"]["param"]) == ("unsupported_content", "messages")


def test_what_grew_too_long_is_still_refused(server: ThreadServer, me: httpx.Client) -> None:
    """Messages that fit one by one are not left out in silence."""
    made = new_conversation(me)
    chat(me, made, "word " * 20)
    refused = chat(me, made, "hi", model="short")
    assert (refused.status_code, code_of(refused)) == (400, "context_length_exceeded")


def test_a_refusal_names_the_request_s_own_message(server: ThreadServer, me: httpx.Client) -> None:
    """Whatever precedes it in the conversation."""
    made = new_conversation(me)
    chat(me, made, "one")
    chat(me, made, "two")
    body = {"model": "echo", "conversation_id": made, "messages": [{"role": "user", "content": [IMAGE]}]}
    assert me.post(CHAT, json=body).json()["error"]["param"] == "messages[0].content[0]"

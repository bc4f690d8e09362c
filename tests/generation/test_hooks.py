"""Hooks see each request to a model before it runs, in order, and each answer once when it has ended."""

import asyncio
from collections.abc import Iterator
from typing import Any, ClassVar

import httpx
import msgspec
import pytest
from support.patience import until
from support.server import check_invariants

from jan.engine.base import ChatPrompt, GenerationRequest, TextPrompt
from jan.errors import ConfigurationError, PermissionDenied
from jan.generation.hooks import GeneratedAnswer, GeneratedCall, Hook, HookContext, Hooks
from jan.generation.model_request import ModelRequest
from jan.handler import PUBLIC, Handler, operation
from jan.schema.messages import UserMessage
from jan.settings.names import DottedName
from jan.telemetry.metrics import Metrics
from jan.testing import ThreadServer, route, served

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
SLOW = """
models:
  - {id: echo, engine: echo}
  - {id: other, engine: echo, options: {repeat: 2}}
  - {id: slow, engine: echo, options: {step_seconds: 0.02, repeat: 999, context: 99999}}
server: {grace_seconds: 5}
"""


class Order(Hook):
    """Adds a word, waits for the loop, and knows what came before it."""

    word = " first"

    async def before(self, context: HookContext, request: ModelRequest) -> ModelRequest | None:
        """Adds the word to the last message."""
        await asyncio.sleep(0)
        prompt = request.sequences[0].prompt
        if not isinstance(prompt, ChatPrompt) or not isinstance(prompt.messages[-1], UserMessage):
            return None
        text = prompt.messages[-1].content
        if not isinstance(text, str) or "hook" not in text:
            return None
        message = msgspec.structs.replace(prompt.messages[-1], content=text + self.word)
        changed = msgspec.structs.replace(prompt, messages=(*prompt.messages[:-1], message))
        sequences = tuple(msgspec.structs.replace(one, prompt=changed) for one in request.sequences)
        return msgspec.structs.replace(request, sequences=sequences)


class Second(Order):
    """Adds another word, and is not async."""

    word = " second"

    def before(self, context: HookContext, request: ModelRequest) -> Any:  # type: ignore[override]
        """Also sends what asks for it to another model."""
        text = str(request.sequences[0].prompt)
        if "refuse" in text:
            raise PermissionDenied("Not this one.", code="refused_by_hook")
        if "break" in text:
            raise LookupError("broken on purpose")
        if "return" in text:
            return "nonsense"
        if "fewer" in text:
            return msgspec.structs.replace(request, sequences=request.sequences[:1])
        if "elsewhere" in text:
            return msgspec.structs.replace(request, model="other")
        return super().before(context, request)


class Witness:
    """Sees answers; no subclass of Hook, as a hook need not be one."""

    seen: ClassVar[list[tuple[HookContext, GeneratedAnswer]]] = []

    def after(self, context: HookContext, answer: GeneratedAnswer) -> None:
        """Keeps the answer, and fails over some."""
        self.seen.append((context, answer))
        if "stumble" in answer.choices[0].text:
            raise LookupError("stumbled on purpose")


class LateWitness:
    """Sees answers in its own time."""

    seen: ClassVar[list[str]] = []

    async def after(self, context: HookContext, answer: GeneratedAnswer) -> None:
        """Keeps the text later."""
        await asyncio.sleep(0.01)
        self.seen.append(answer.choices[0].text)
        if "late trouble" in answer.choices[0].text:
            raise LookupError("late on purpose")


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadServer]:
    with served(SLOW, hooks=[Order, Second, Witness, LateWitness]) as server:
        yield server


@pytest.fixture
def client(server: ThreadServer) -> Iterator[httpx.Client]:
    """A client whose answers and errors are this test's alone."""
    Witness.seen.clear()
    LateWitness.seen.clear()
    server.log.clear()
    with server.connect(event_hooks={"response": [check_invariants]}) as client:
        yield client


def say(client: httpx.Client, text: str, **fields: Any) -> httpx.Response:
    messages = [{"role": "user", "content": text}]
    return client.post(CHAT, json={"model": "echo", "messages": messages, **fields})


def content(answer: httpx.Response) -> str:
    text: str = answer.json()["choices"][0]["message"]["content"]
    return text


def test_hooks_change_a_request_in_their_order(client: httpx.Client) -> None:
    """Each gets what the one before made of it; a request that none changes is served as it came."""
    assert content(say(client, "hook")) == "hook first second"
    assert content(say(client, "plain")) == "plain"


def test_a_hook_chooses_another_model(client: httpx.Client) -> None:
    """The client is answered by the name that it used; the answer's witness is told both."""
    answer = say(client, "elsewhere ")
    assert content(answer) == "elsewhere elsewhere "
    assert answer.json()["model"] == "echo"
    context, seen = Witness.seen[0]
    assert (context.model, seen.model) == ("echo", "other")


def test_a_hook_s_refusal_is_the_answer(server: ThreadServer, client: httpx.Client) -> None:
    """With its status and code; nothing runs, and there is no answer to see, streamed or not."""
    for stream in (False, True):
        refused = say(client, "refuse", stream=stream)
        assert refused.status_code == 403
        assert refused.json()["error"]["code"] == "refused_by_hook"
    assert (server.errors, Witness.seen) == ([], [])


@pytest.mark.parametrize("text", ["break", "return", "fewer"])
def test_a_hook_that_fails_is_a_500(server: ThreadServer, client: httpx.Client, text: str) -> None:
    """The request is not served; the log has the traceback, and the failure is counted."""
    failed = say(client, text, n=2)
    assert failed.status_code == 500
    assert failed.json()["error"]["code"] == "internal_error"
    assert "purpose" not in failed.text
    (told,) = server.errors
    assert told["event"] == "hook failed"
    assert told["hook"].endswith("test_hooks.Second")
    assert "Traceback" in told["exception"]
    assert told["request_id"] == failed.headers["x-request-id"]
    assert Witness.seen == []
    metrics = server.admin.get("/metrics").text
    assert any('test_hooks.Second",method="before"} ' in line for line in metrics.splitlines())


def test_access_comes_before_hooks() -> None:
    """No hook sees a request that access refuses."""
    with served(f"access: {{anonymous: refuse}}\n{SLOW}", hooks=[Second]) as server:
        assert say(server.client, "break").status_code == 401
        assert server.errors == []


def test_an_answer_is_seen_once_with_all_that_it_has(client: httpx.Client) -> None:
    """Whole or streamed, of each API: text, calls, reason, tokens, and where the request came from."""
    whole = say(client, "one two", n=2)
    body = {"model": "echo", "messages": [{"role": "user", "content": "one two"}], "stream": True}
    streamed = client.post(CHAT, json=body)
    assert streamed.text.endswith("data: [DONE]\n\n")
    client.post(COMPLETIONS, json={"model": "echo", "prompt": "three"})
    assert until(lambda: len(Witness.seen) == 3)
    (first, answer), (second, other), (third, completion) = Witness.seen
    assert first.request_id == whole.headers["x-request-id"]
    assert (first.route, first.api, first.identity.anonymous) == ("chat.completions", "openai.chat", True)
    assert [choice.text for choice in answer.choices] == ["one two", "one two"]
    assert [choice.finish_reason for choice in answer.choices] == ["stop", "stop"]
    assert (answer.prompt_tokens, answer.completion_tokens, answer.cached_tokens) == (2, 4, 0)
    assert second.request_id == streamed.headers["x-request-id"]
    assert (other.choices[0].text, other.choices[0].finish_reason) == ("one two", "stop")
    assert (third.api, completion.choices[0].text) == ("openai.completions", "three")


def test_tool_calls_are_seen(client: httpx.Client) -> None:
    """With their names and arguments."""
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    call = '<tool_call>{"name": "look", "arguments": {"at": 1}}</tool_call>'
    assert say(client, call, tools=[tool]).json()["choices"][0]["finish_reason"] == "tool_calls"
    choice = Witness.seen[0][1].choices[0]
    assert (choice.calls, choice.finish_reason) == ((GeneratedCall("look", '{"at": 1}'),), "tool_calls")


def test_a_cancelled_answer_is_seen_as_far_as_it_came(client: httpx.Client) -> None:
    """Without a reason, and counted as far."""
    body = {"model": "slow", "messages": [{"role": "user", "content": "one two three"}], "stream": True}
    with client.stream("POST", CHAT, json=body) as answer:
        lines = answer.iter_lines()
        while '"content":"two' not in next(lines):
            pass
    assert until(lambda: len(Witness.seen) == 1)
    seen = Witness.seen[0][1]
    assert seen.choices[0].text.startswith("one two")
    assert seen.choices[0].finish_reason is None
    assert seen.completion_tokens >= 2


def test_a_detached_answer_is_seen_at_its_end(client: httpx.Client) -> None:
    """Though its client left long before."""
    words = " ".join(f"w{n}" for n in range(20))
    body = {"model": "slow", "messages": [{"role": "user", "content": words}], "max_tokens": 20, "stream": True}
    with client.stream("POST", CHAT, json={**body, "on_disconnect": "finish"}) as answer:
        next(answer.iter_lines())
    assert until(lambda: len(Witness.seen) == 1)
    choice = Witness.seen[0][1].choices[0]
    assert (choice.text.strip(), choice.finish_reason) == (words, "length")


def test_a_witness_that_fails_changes_nothing(server: ThreadServer, client: httpx.Client) -> None:
    """The client has its answer, the other hooks see it, the log and the metrics tell; so with one that is
    async."""
    assert content(say(client, "stumble and late trouble")) == "stumble and late trouble"
    assert until(lambda: len(server.errors) == 2)
    assert {(told["event"], told["hook"].rpartition(".")[2]) for told in server.errors} == {
        ("hook failed", "Witness"),
        ("hook failed", "LateWitness"),
    }
    assert LateWitness.seen[-1] == "stumble and late trouble"
    metrics = server.admin.get("/metrics").text
    assert 'LateWitness",method="after"} 1.0' in metrics


def test_a_stored_conversation_keeps_what_was_said(server: ThreadServer) -> None:
    """The model gets what the hook made of it; the conversation has what the client sent, and a refused request
    has stored nothing."""
    me = server.connect(server.add_user())
    conversation = me.post("/v1/conversations", json={}).json()["id"]
    assert content(say(me, "hook me", conversation_id=conversation)) == "hook me first second"
    assert content(say(me, "hook again", conversation_id=conversation)) == "hook again first second"
    assert say(me, "refuse", conversation_id=conversation).status_code == 403
    stored = me.get(f"/v1/conversations/{conversation}/messages").json()["data"]
    assert [message["content"] for message in stored] == [
        "hook me",
        "hook me first second",
        "hook again",
        "hook again first second",
    ]


def test_a_stored_response_keeps_what_was_said(server: ThreadServer) -> None:
    """The model gets what the hook made of it, after stored responses too; the items are what the client sent."""
    me = server.connect(server.add_user())

    def respond(text: str, **others: str) -> Any:
        answer = me.post("/v1/responses", json={"model": "echo", "input": text, **others})
        assert answer.status_code == 200, answer.text
        return answer.json()

    first = respond("hook me", instructions="Be brief.")
    second = respond("hook again", previous_response_id=first["id"])
    texts = [response["output"][0]["content"][0]["text"] for response in (first, second)]
    assert texts == ["hook me first second", "hook again first second"]
    items = me.get(f"/v1/responses/{first['id']}/input_items").json()["data"]
    assert [part["text"] for item in items for part in item["content"]] == ["hook me"]


class Needy:
    """It can't be made."""

    def __init__(self) -> None:
        raise OSError("no such file")

    def after(self, context: HookContext, answer: GeneratedAnswer) -> None:
        """A hook that sees nothing."""


class Idle(Hook):
    """It has neither method of its own."""


WRONG = {
    "nowhere.Hook": r"^hooks\[0\]: Can't import 'nowhere\.Hook': No module named 'nowhere'; allowed: ",
    Needy: r"^hooks\[0\]: Can't make '.*Needy': OSError: no such file\.$",
    Idle: r"^hooks\[0\]: The class '.*Idle' needs a method 'before' or 'after'\.$",
}


@pytest.mark.parametrize("hook", WRONG)
def test_a_wrong_hook_stops_the_server(hook: type | str) -> None:
    """The message names the entry and what is wrong with it."""
    name = DottedName(hook) if isinstance(hook, str) else DottedName.of(hook)
    with pytest.raises(ConfigurationError, match=WRONG[hook]):
        Hooks([name], Metrics())


class Tried(msgspec.Struct):
    """How often it was refused, and the answer."""

    refused: int
    text: str


class TwoTries(Handler):
    """An endpoint that asks a model again when it was refused, by itself and by the other way."""

    @operation(summary="Try twice", access=PUBLIC, response=Tried)
    async def get(self) -> Tried:
        """Asks for what the hooks refuse, then for something else."""
        refused = 0
        for prompt in ("refuse", "refuse", "hello"):
            sequence = GenerationRequest(prompt=TextPrompt(prompt), owner=self.identity.owner)
            try:
                answers = await self.complete(ModelRequest(model="echo", sequences=(sequence,)))
            except PermissionDenied:
                refused += 1
        return Tried(refused, answers.answers[0].text)


def test_every_request_of_an_endpoint_is_seen() -> None:
    """Also the second one to a model, and one after a refusal."""
    with served(hooks=[Second, Witness], routes=[route("/twice", TwoTries)]) as server:
        Witness.seen.clear()
        assert server.client.get("/twice").json() == {"refused": 2, "text": "hello"}
        assert [answer.choices[0].text for _, answer in Witness.seen] == ["hello"]
        assert server.errors == []

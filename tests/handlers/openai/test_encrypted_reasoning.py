"""Reasoning that a client keeps for the server, encrypted for its owner, and that the model gets again."""

import itertools
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import ResponseReasoningItem

from jan.auth.encrypted_texts import EncryptedTexts
from jan.engine.base import ChatPrompt
from jan.handler import Hook, HookContext, ModelRequest
from jan.schema.messages import AssistantMessage
from jan.testing import ThreadServer, served

INCLUDE = ["reasoning.encrypted_content"]
THOUGHT = "<think>hm hm</think>look"


class Seen(Hook):
    """Notes the reasoning that a model gets."""

    reasoning: list[str | None]

    def before(self, context: HookContext, request: ModelRequest) -> None:  # type: ignore[override]
        """Note it for the latest request."""
        prompt = request.sequences[0].prompt
        assert isinstance(prompt, ChatPrompt)
        type(self).reasoning = [
            one.reasoning_content for one in prompt.messages if isinstance(one, AssistantMessage)
        ]


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadServer]:
    with served("models: [{id: thinker, engine: echo, options: {reasoning: auto}}]", hooks=[Seen]) as found:
        yield found


def reasoned(sdk: openai.OpenAI, *, stream: bool = False, **fields: Any) -> ResponseReasoningItem:
    """The reasoning of a new response."""
    if stream:
        *_, last = sdk.responses.create(model="thinker", input=THOUGHT, stream=True, **fields)
        response = last.response
    else:
        response = sdk.responses.create(model="thinker", input=THOUGHT, **fields)
    item = response.output[0]
    assert isinstance(item, ResponseReasoningItem)
    return item


def send_back(client: httpx.Client, encrypted: str, url: str = "/v1/responses") -> httpx.Response:
    """Send reasoning back as Codex does: without its text."""
    given = [
        {"role": "user", "content": "Which files?"},
        {"type": "reasoning", "summary": [], "encrypted_content": encrypted},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "look"}]},
        {"role": "user", "content": "And now?"},
    ]
    answer = client.post(url, json={"model": "thinker", "input": given, "store": False})
    assert answer.status_code == 200, answer.text
    return answer


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_the_model_gets_what_it_thought(sdk: openai.OpenAI, client: httpx.Client, stream: bool) -> None:
    """What comes back is the reasoning of its turn, also by the same text in an item's own event."""
    item = reasoned(sdk, include=INCLUDE, store=False, stream=stream)
    assert item.encrypted_content is not None
    assert b"hm hm" not in urlsafe_b64decode(item.encrypted_content.removeprefix("jan1."))
    answer = send_back(client, item.encrypted_content)
    assert answer.headers["x-jan-ignored"] == "input[1].content"  # the echo model shows no reasoning
    assert [(text or "").strip() for text in Seen.reasoning] == ["hm hm"]
    counted = client.post("/v1/responses/input_tokens", json={"model": "thinker", "input": [item.to_dict()]})
    assert counted.status_code == 200


def test_a_stream_has_one_form_of_it(sdk: openai.OpenAI) -> None:
    """The item at its end and in the whole response are the same."""
    found = list(sdk.responses.create(model="thinker", input=THOUGHT, include=INCLUDE, stream=True))
    done = next(event.item for event in found if event.type == "response.output_item.done")
    assert found[-1].response.output[0] == done
    assert done.encrypted_content


def test_only_who_asks_gets_it(sdk: openai.OpenAI) -> None:
    """Without the name in `include` nothing is encrypted."""
    assert reasoned(sdk).encrypted_content is None


def changed(encrypted: str) -> str:
    middle = len(encrypted) // 2
    other = "A" if encrypted[middle] != "A" else "B"
    return encrypted[:middle] + other + encrypted[middle + 1 :]


FOREIGN = {
    "of OpenAI": lambda _own: "gAAAAABn",
    "changed": changed,
    "cut": lambda own: own[:-8],
    "a prefix only": lambda _own: "jan1.",
    "no base64": lambda _own: "jan1.ü",
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_reasoning_is_left_out_by_name(sdk: openai.OpenAI, client: httpx.Client, kind: str) -> None:
    """It is accepted, and the model gets the answer without it."""
    own = reasoned(sdk, include=INCLUDE).encrypted_content or ""
    answer = send_back(client, FOREIGN[kind](own))
    assert answer.headers["x-jan-ignored"] == "input[1].encrypted_content"
    assert Seen.reasoning == [None]


def test_another_users_reasoning_is_foreign(sdk: openai.OpenAI, server: ThreadServer) -> None:
    """Whoever finds another user's item can't let the server read it out."""
    own = reasoned(sdk, include=INCLUDE).encrypted_content or ""
    answer = send_back(server.connect(server.add_user()), own)
    assert answer.headers["x-jan-ignored"] == "input[1].encrypted_content"
    assert Seen.reasoning == [None]


def test_a_conversation_keeps_it_as_text(sdk: openai.OpenAI, client: httpx.Client) -> None:
    """Items that are added to a conversation are read in the same way."""
    own = reasoned(sdk, include=INCLUDE)
    made = client.post("/v1/conversations", json={"items": [{"role": "user", "content": "hi"}]}).json()["id"]
    item = {"type": "reasoning", "summary": [], "encrypted_content": own.encrypted_content}
    said = {"role": "assistant", "content": "look"}
    added = client.post(f"/v1/conversations/{made}/items", json={"items": [item, said]})
    assert added.status_code == 200, added.text
    kept = client.get(f"/v1/conversations/{made}/items", params={"order": "asc"}).json()["data"]
    assert kept[1]["content"][0]["text"].strip() == "hm hm"


def test_a_place_is_that_of_the_request(client: httpx.Client) -> None:
    """An item that is left out does not move the names of those after it."""
    call = {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_image", "image_url": "x"}]}
    given = [{"type": "web_search_call", "id": "w"}, call]
    refused = client.post("/v1/responses", json={"model": "thinker", "input": given})
    assert refused.json()["error"]["param"] == "input[1].output[0]"


def test_keys_owners_and_kinds_are_apart() -> None:
    """A text is read with older keys too, and only by its owner as what it is."""
    old, new = bytes(32), bytes(range(32))
    text = EncryptedTexts(lambda _: [old]).of("me").encrypt("reasoning", "hm ü")
    rotated = EncryptedTexts(lambda _: [new, old])
    assert rotated.of("me").decrypt("reasoning", text) == "hm ü"
    for texts, kind in itertools.product(
        (rotated.of("you"), EncryptedTexts(lambda _: [new]).of("me")), ("reasoning", "compaction")
    ):
        assert texts.decrypt(kind, text) is None
    assert rotated.of("me").decrypt("compaction", text) is None
    assert rotated.of("me").encrypt("reasoning", "hm ü") != text

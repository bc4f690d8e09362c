"""Blocks of earlier messages: what only Anthropic can use, what is refused, and marks of the cache."""

from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest

from handlers.anthropic.translated_request import TranslatedRequest
from jan.engine.base import ChatPrompt
from jan.handler import Hook, HookContext, ModelRequest
from jan.schema.anthropic import PromptOfMessages
from jan.testing import ThreadServer, served

URL = "/api/v1/messages"
MARK = {"cache_control": {"type": "ephemeral"}}
TEXT = {"type": "text", "text": "It is sunny."}
HOSTED: dict[str, dict[str, Any]] = {
    "server_tool_use": {
        "id": "srvtoolu_1",
        "name": "web_search",
        "input": {"query": "x"},
        "caller": {"type": "direct"},
    },
    "web_search_tool_result": {
        "tool_use_id": "srvtoolu_1",
        "content": [{"type": "web_search_result", "url": "u"}],
    },
    "web_fetch_tool_result": {"tool_use_id": "srvtoolu_1", "content": {"type": "web_fetch_result", "url": "u"}},
    "code_execution_tool_result": {"tool_use_id": "1", "content": {"type": "code_execution_result", "stdout": ""}},
    "bash_code_execution_tool_result": {"tool_use_id": "1", "content": {}},
    "text_editor_code_execution_tool_result": {"tool_use_id": "1", "content": {}},
    "tool_search_tool_result": {"tool_use_id": "1", "content": {}},
    "advisor_tool_result": {"tool_use_id": "1", "content": {}},
    "mcp_tool_use": {"id": "1", "name": "n", "input": {}, "server_name": "s"},
    "mcp_tool_result": {"tool_use_id": "1", "content": "x", "is_error": False},
    "mcp_tool_listing": {"tools": []},
    "fallback": {"reason": "x"},
    "redacted_thinking": {"data": "EqQB"},
}


class SeenMessages(Hook):
    """Notes what a model gets."""

    messages: tuple[Any, ...] = ()

    def before(self, context: HookContext, request: ModelRequest) -> None:  # type: ignore[override]
        """Note it for the latest request."""
        prompt = request.sequences[0].prompt
        assert isinstance(prompt, ChatPrompt)
        type(self).messages = prompt.messages


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadServer]:
    with served(hooks=[SeenMessages]) as found:
        yield found


def send(server: ThreadServer, *content: dict[str, Any], role: str = "assistant") -> httpx.Response:
    """Send a question, a message of these blocks, and another question."""
    messages = [
        {"role": "user", "content": "What is the weather?"},
        {"role": role, "content": list(content)},
        {"role": "user", "content": "And tomorrow?"},
    ]
    return server.client.post(URL, json={"model": "echo", "max_tokens": 50, "messages": messages})


@pytest.mark.parametrize("kind", HOSTED)
def test_what_only_anthropic_can_use_is_left_out_by_name(server: ThreadServer, kind: str) -> None:
    """The text that followed from it stays. Nothing inside the block is named too."""
    answer = send(server, {"type": kind, **HOSTED[kind], **(MARK if kind != "redacted_thinking" else {})}, TEXT)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-jan-ignored"] == "messages[1].content[0]"
    assert [part.text for part in SeenMessages.messages[1].content] == ["It is sunny."]


def test_a_summary_reaches_the_model(server: ThreadServer) -> None:
    """That of a compaction is text; one that failed is nothing."""
    summary = {"type": "compaction", "content": "They spoke of Paris.", "encrypted_content": "x", "signature": "y"}
    answer = send(server, summary, {"type": "compaction", "content": None}, TEXT)
    assert answer.status_code == 200, answer.text
    assert [part.text for part in SeenMessages.messages[1].content] == ["They spoke of Paris.", "It is sunny."]


def test_a_tool_that_was_found_has_its_name(server: ThreadServer) -> None:
    """A client that searches its own tools answers with references to them."""
    found = {
        "type": "tool_result",
        "tool_use_id": "1",
        "content": [{"type": "tool_reference", "tool_name": "get_weather"}, {"type": "text", "text": "one tool"}],
    }
    assert send(server, found, role="user").status_code == 200
    assert SeenMessages.messages[1].content == "get_weather\none tool"


USER = "'text', 'image', 'document', 'search_result', 'tool_result'"


@pytest.mark.parametrize(
    ("role", "block", "allowed"),
    [
        ("user", {"type": "server_tool_use", "id": "1"}, USER),
        ("user", {"type": "container_upload", "file_id": "f"}, USER),
        ("assistant", {"type": "image", "source": {}}, "'text', 'thinking', 'redacted_thinking', 'tool_use'"),
        ("system", {"type": "image", "source": {}}, "'text'."),
    ],
    ids=["user", "upload", "assistant", "system"],
)
def test_a_wrong_block_says_what_the_role_may_have(
    server: ThreadServer, role: str, block: dict[str, Any], allowed: str
) -> None:
    """What changes the question is refused. The list has the types of this role, and no others."""
    error = send(server, block, role=role).json()["error"]
    assert error["param"] == "messages[1].content[0].type"
    assert f"allowed: {allowed}" in error["message"]


def test_other_places_of_the_body_are_explained_too(server: ThreadServer) -> None:
    """The tag of a message, and a block within a block."""
    wrong_role = send(server, TEXT, role="tool").json()["error"]
    assert "allowed: 'user', 'assistant', 'system'" in wrong_role["message"]
    inner = {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "sound"}]}
    wrong_inner = send(server, inner, role="user").json()["error"]
    assert wrong_inner["param"] == "messages[1].content[0].content[0].type"
    assert "allowed: 'text', 'image', 'document', 'search_result', 'tool_reference'" in wrong_inner["message"]


_ASKED = {"model": "echo", "messages": [{"role": "user", "content": "hi"}]}
_RESULT = {"type": "tool_result", "tool_use_id": "1", "content": [{**TEXT, **MARK}]}
_DOCUMENT = {"type": "document", "source": {"type": "content", "content": [{**TEXT, **MARK}]}}
MARKED: dict[str, dict[str, Any]] = {
    "body": MARK,
    "system": {"system": [TEXT, {**TEXT, **MARK}]},
    "tool": {"tools": [{"name": "t", "input_schema": {}, **MARK}]},
    "block": {"messages": [{"role": "user", "content": [{**TEXT, **MARK}]}]},
    "block in a block": {"messages": [{"role": "user", "content": [_RESULT]}]},
    "block in a document": {"messages": [{"role": "user", "content": [_DOCUMENT]}]},
}
PLAIN: dict[str, dict[str, Any]] = {
    "none": {},
    "text": {"system": '"cache_control":{'},
    "schema": {"tools": [{"name": "t", "input_schema": {"properties": MARK}}]},
    "thinking": {"messages": [{"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}]}]},
}


@pytest.mark.parametrize(("places", "asks"), [(MARKED, True), (PLAIN, False)], ids=["marked", "plain"])
def test_a_mark_of_the_cache_is_found_wherever_it_may_stand(places: dict[str, dict[str, Any]], asks: bool) -> None:
    """In the body, a tool and any block; not where a text or a schema only looks like one."""
    found = {
        name: TranslatedRequest(msgspec.convert({**_ASKED, **change}, PromptOfMessages)).asks_cache
        for name, change in places.items()
    }
    assert found == dict.fromkeys(places, asks)

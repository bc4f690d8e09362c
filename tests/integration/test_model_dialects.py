"""Tool calls and reasoning in every dialect over HTTP: read, whole and streamed, and forced on models."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from support import templates
from support.dialects import ARGUMENTS, DIALECTS, PARAMETERS, canonical

from jan.engine.prompts.dialects import Dialect
from jan.engine.prompts.dialects.known_forms import REASONING
from jan.testing import ThreadServer, served

CHAT = "/api/v1/chat/completions"
TOOLS = [
    {"type": "function", "function": {"name": "f", "parameters": PARAMETERS}},
    {"type": "function", "function": {"name": "g-2"}},
]
BY_NAME = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.tools)


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadServer]:
    """An echo model for each dialect, with tokens of three characters."""
    models = [
        {
            "id": dialect.tools,
            "engine": "echo",
            "options": {"piece": 3, "tool_format": dialect.tools, "reasoning": "auto"},
        }
        for dialect in DIALECTS
    ]
    with served(f"models: {json.dumps(models)}") as server:
        yield server
        assert server.errors == []


def whole(client: httpx.Client, body: dict[str, Any]) -> dict[str, Any]:
    """Return the message and the reason of an answer."""
    answer = client.post(CHAT, json=body)
    assert answer.status_code == 200, answer.text
    (choice,) = answer.json()["choices"]
    calls = choice["message"].get("tool_calls") or []
    return {
        "content": choice["message"].get("content") or "",
        "reasoning": choice["message"].get("reasoning_content") or "",
        "calls": [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls],
        "reason": choice["finish_reason"],
    }


def streamed(client: httpx.Client, body: dict[str, Any]) -> dict[str, Any]:
    """Return the same as ``whole``, as the sum of a stream."""
    text = client.post(CHAT, json={**body, "stream": True}).text
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: {")]
    choices = [choice for line in lines for choice in json.loads(line)["choices"]]
    calls: dict[int, list[str]] = {}
    for piece in (piece for choice in choices for piece in choice["delta"].get("tool_calls") or []):
        name = piece["function"].get("name") or ""
        call = calls.setdefault(piece["index"], [name, ""])
        call[1] += piece["function"].get("arguments") or ""
    return {
        "content": "".join(choice["delta"].get("content") or "" for choice in choices),
        "reasoning": "".join(choice["delta"].get("reasoning_content") or "" for choice in choices),
        "calls": [(name, json.loads(arguments)) for name, arguments in calls.values()],
        "reason": next(choice["finish_reason"] for choice in choices if choice["finish_reason"]),
    }


@BY_NAME
def test_calls_and_reasoning_are_read(server: ThreadServer, dialect: Dialect) -> None:
    """Arguments have the types of the schema, and a stream is the same as a whole answer."""
    calls = [("f", ARGUMENTS), ("g-2", {})][: 2 if dialect.calls.several else 1]
    said = canonical(dialect, *calls)
    if dialect.reasoning:
        marks = REASONING[dialect.reasoning]
        said = f"{marks.open}Hm.{marks.close}{'<|start|>assistant' if marks.in_channels else ''}{said}"
    body = {"model": dialect.tools, "messages": [{"role": "user", "content": said}], "tools": TOOLS}
    expected = {
        "content": "",
        "reasoning": "Hm." if dialect.reasoning else "",
        "calls": calls,
        "reason": "tool_calls",
    }
    assert whole(server.client, body) == expected
    assert streamed(server.client, body) == expected


@BY_NAME
def test_text_without_tools_is_text(server: ThreadServer, dialect: Dialect) -> None:
    """A call of a tool that the request does not have comes as it was written."""
    said = canonical(dialect, ("f", {"a": 1}))
    body = {"model": dialect.tools, "messages": [{"role": "user", "content": said}]}
    answer = whole(server.client, body)
    assert (answer["content"].strip(), answer["calls"], answer["reason"]) == (said.strip(), [], "stop")


def test_the_log_says_how_chats_are_written(server: ThreadServer) -> None:
    """Each model's dialect, and whether its template shows the tools."""
    loaded = {record["model"]: record for record in server.log if record["event"] == "model loaded"}
    assert set(loaded) == {dialect.tools for dialect in DIALECTS}
    assert loaded["glm"]["dialect"] == "glm"
    assert (loaded["glm"]["tools"], loaded["glm"]["reasoning"]) == ("native", "think")


# --- models ------------------------------------------------------------------------------------------

# By template: the form that it shows, and its marks that are control tokens of such models.
SHOWN = {
    "glm": ("glm", ("<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>")),
    "minimax": ("minimax", ("<minimax:tool_call>", "</minimax:tool_call>")),
    "xml": ("qwen3_coder", ("<tool_call>", "</tool_call>")),
    "nine": ("mistral", ("[TOOL_CALLS]",)),
    "one_call": ("llama3", ("<|python_tag|>",)),
    "tool_use": ("hermes", ("<tool_call>", "</tool_call>")),
    "plain": ("hermes", ()),
}
CHOSEN = {
    "type": "object",
    "properties": {"n": {"type": "integer", "enum": [1, 22]}, "city": {"enum": ["Ulm", "Rom"]}},
    "required": ["n", "city"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThreadServer]:
    """Tiny models of random weights with templates of several forms."""
    pytest.importorskip("cyllama")
    from support.tiny_gguf import write_tiny_gguf

    folder = tmp_path_factory.mktemp("gguf")
    configured = [
        {
            "id": name,
            "engine": "llamacpp",
            "load": "lazy",
            "options": {
                "model": str(
                    write_tiny_gguf(folder / f"{name}.gguf", {"default": templates.OWN[name]}, control=control)
                ),
                # Random weights would think to the end of the context.
                "reasoning": "off",
                "threads": 1,
                "slots": 1,
            },
        }
        for name, (_, control) in SHOWN.items()
    ]
    with served(f"models: {json.dumps(configured)}") as server:
        yield server
        assert server.errors == []


@pytest.mark.model
@pytest.mark.parametrize("name", SHOWN)
def test_a_model_that_must_call_does(models: ThreadServer, name: str) -> None:
    """In the form that its template shows, or that it is told; the log says which."""
    tool = {"type": "function", "function": {"name": "look", "parameters": CHOSEN}}
    body = {
        "model": name,
        "messages": [{"role": "user", "content": "Weather?"}],
        "tools": [tool],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "max_tokens": 200,
        "seed": 1,
    }
    for answer in (whole(models.client, body), streamed(models.client, body)):
        ((called, arguments),) = answer["calls"]
        assert called == "look"
        assert arguments["n"] in (1, 22)
        assert arguments["city"] in ("Ulm", "Rom")
        assert (answer["content"], answer["reason"]) == ("", "tool_calls")
    (loaded,) = (record for record in models.log if record["event"] == "model loaded" and record["model"] == name)
    assert loaded["dialect"] == SHOWN[name][0]
    assert loaded["tools"] == ("instructions" if name == "plain" else "native")


@pytest.mark.model
@pytest.mark.parametrize(
    ("parameters", "strict"),
    [
        ({"const": 5}, False),
        ({"type": "string"}, False),
        ({"enum": [None, "a"]}, False),
        ({"type": "object", "properties": {"a": {"type": [{"a": 1}]}}}, True),
    ],
)
def test_arguments_that_can_be_no_object_are_refused(
    models: ThreadServer, parameters: dict[str, Any], strict: bool
) -> None:
    """The error names the tool; so it does for a strict tool's schema that is none."""
    tool = {"type": "function", "function": {"name": "look", "parameters": parameters, "strict": strict}}
    body = {"model": "xml", "messages": [{"role": "user", "content": "Weather?"}], "tools": [tool]}
    answer = models.client.post(CHAT, json={**body, "tool_choice": "required"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_schema")
    assert answer.json()["error"]["param"] == "tools[0].function.parameters"

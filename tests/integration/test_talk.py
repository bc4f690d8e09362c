"""Tool calls, reasoning, going on and formats over HTTP, as OpenAI's SDK sees them."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from support.sdk import ask, connect, reasons, said
from support.server import DEFAULT_CONFIG, ServerProcess, http_client

pytestmark = pytest.mark.sdk

PIECES = (0, 1, 2, 3, 5, 8, 13, 100)
FORMS = ("hermes", "llama3", "mistral")
THOUGHT = "<think>\nTwo tools, STOP.\n</think>\n\n"
ANSWERS = {
    "hermes": '<tool_call>\n{"name": "f", "arguments": {"a": [1, "}"]}}\n</tool_call>\n'
    '<tool_call>\n{"name": "g", "arguments": {}}\n</tool_call>',
    "llama3": '{"name": "f", "parameters": {"a": [1, "}"]}}; {"name": "g", "parameters": {}}',
    "mistral": '[TOOL_CALLS] [{"name": "f", "arguments": {"a": [1, "}"]}}, {"name": "g", "arguments": {}}]',
}
TOOLS: list[Any] = [{"type": "function", "function": {"name": name}} for name in ("f", "g")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """An echo model for each form and each length of tokens."""
    models = [
        {
            "id": f"{form}-{piece}",
            "engine": "echo",
            "options": {"piece": piece, "tool_format": form, "reasoning": "auto"},
        }
        for form in FORMS
        for piece in PIECES
    ]
    config: Path = tmp_path_factory.mktemp("talk") / "jan.yaml"
    config.write_text(f"extends: {DEFAULT_CONFIG}\nlog: {{format: json}}\nmodels: {json.dumps(models)}\n")
    process = ServerProcess(config)
    yield process
    assert process.stop() == 0
    assert process.errors() == []


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> Iterator[openai.OpenAI]:
    with connect(server) as client:
        yield client


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("piece", PIECES)
def test_calls_and_reasoning_stream(client: openai.OpenAI, form: str, piece: int) -> None:
    """The SDK's own sum of the deltas, and the plain answer: calls, reasoning and content, however it is cut."""
    request = ask(THOUGHT + ANSWERS[form], f"{form}-{piece}", tools=TOOLS, stop="STOP")
    plain = client.chat.completions.create(**request)
    with client.chat.completions.stream(**request, stream_options={"include_usage": True}) as stream:
        summed = stream.get_final_completion()
    for completion in (plain, summed):
        (choice,) = completion.choices
        calls = choice.message.tool_calls or []
        assert [(c.type, c.function.name, c.function.arguments) for c in calls] == [  # type: ignore[union-attr]
            ("function", "f", '{"a": [1, "}"]}'),
            ("function", "g", "{}"),
        ]
        assert len({call.id for call in calls}) == 2
        assert not choice.message.content
        assert choice.message.reasoning_content == "Two tools, STOP."  # type: ignore[attr-defined]
        assert choice.message.reasoning == "Two tools, STOP."  # type: ignore[attr-defined]
        assert choice.finish_reason == "tool_calls"
        assert completion.usage is not None
        assert completion.usage.completion_tokens_details is not None
        assert completion.usage.completion_tokens_details.reasoning_tokens


@pytest.mark.parametrize("piece", PIECES)
def test_text_stays_text(client: openai.OpenAI, piece: int) -> None:
    """Text that only begins like a call or a block is content, and not reasoning."""
    text = '<thin> {"name": <tool_call> [TOOL_CALLS] [1]'
    for form in FORMS:
        request = ask(text, f"{form}-{piece}", tools=TOOLS)
        with client.chat.completions.create(**request, stream=True) as stream:
            chunks = list(stream)
        assert said(chunks) == text
        assert reasons(chunks) == [(0, "stop")]
        assert all("reasoning_content" not in c.choices[0].delta.model_fields_set for c in chunks)
        usage = client.chat.completions.create(**request).usage
        assert usage is not None
        assert usage.completion_tokens_details is None


def test_a_conversation_keeps_the_answer_without_reasoning(server: ServerProcess) -> None:
    """The stored message is the content alone."""
    with http_client(server, headers={"Authorization": f"Bearer {server.admin_key}"}) as http:
        made = http.post("/api/v1/conversations", json={}).json()
        body = ask("<think>Hm.</think>Yes.", "hermes-0", conversation_id=made["id"])
        answer = http.post("/api/v1/chat/completions", json=body).json()
        assert answer["choices"][0]["message"]["reasoning_content"] == "Hm."
        assert answer["choices"][0]["message"]["reasoning"] == "Hm."
        stored = http.get(f"/api/v1/conversations/{made['id']}/messages").json()["data"]
        assert [message["content"] for message in stored if message["role"] == "assistant"] == ["Yes."]


BEGUN = [{"role": "user", "content": "Count."}, {"role": "assistant", "content": "one two"}]
GOES_ON: dict[str, Any] = {"model": "hermes-0", "messages": BEGUN, "continue_final_message": True}


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"messages": BEGUN[:1]}, "continue_final_message"),
        ({"add_generation_prompt": True}, "continue_final_message"),
        ({"response_format": {"type": "json_object"}}, "continue_final_message"),
        ({"tools": TOOLS, "tool_choice": "required"}, "continue_final_message"),
        ({"guided_regex": "a", "guided_choice": ["b"]}, "guided_choice"),
        ({"structured_outputs": {"regex": "a", "grammar": "b"}}, "structured_outputs.grammar"),
        ({"guided_regex": "a", "tools": TOOLS}, "tools"),
        ({"continue_final_message": False, "guided_regex": "a"}, "response_format"),
    ],
)
def test_what_does_not_go_together_is_refused(server: ServerProcess, changes: dict[str, Any], param: str) -> None:
    """A 400 that names the field; the last is of a model that can't be held to a format at all."""
    with http_client(server) as http:
        answer = http.post("/api/v1/chat/completions", json=GOES_ON | changes)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


# --- the real model ---------------------------------------------------------------------------------


def content(model: httpx.Client, **body: Any) -> str:
    request = {"model": "jan-v1-4b", "messages": BEGUN[:1], "max_tokens": 40, "seed": 1, **body}
    answer = model.post("/api/v1/chat/completions", json=request)
    assert answer.status_code == 200, answer.text
    text: str = answer.json()["choices"][0]["message"]["content"]
    return text


@pytest.mark.model
@pytest.mark.parametrize(
    ("asked", "pattern"),
    [
        ({"guided_regex": r"\d{3}/[a-c]{2}"}, r"\d{3}/[a-c]{2}"),
        ({"structured_outputs": {"choice": ['"tea"', "coffee"]}}, '"tea"|coffee'),
        ({"guided_grammar": 'start: n ("+" n){2}\nn: /[0-9]/'}, r"\d\+\d\+\d"),
        ({"guided_json": {"enum": [7]}}, "7"),
        ({"guided_choice": ["x" * 600] * 20}, "x+"),
    ],
)
def test_the_model_keeps_to_the_format(model: httpx.Client, asked: dict[str, Any], pattern: str) -> None:
    """Whatever it would rather say."""
    assert re.fullmatch(pattern, content(model, **asked))


@pytest.mark.model
@pytest.mark.parametrize(
    "asked",
    [
        {"guided_regex": "(a{1000}){1000}"},
        {"guided_regex": "a{" + "9" * 5000 + "}"},
        {"guided_regex": "("},
        {"structured_outputs": {"grammar": "start: A\nA: B{1000}\nB: /a{1000}/"}},
        {"structured_outputs": {"grammar": "start: " + "(" * 4000}},
    ],
)
def test_hostile_formats_are_refused(model: httpx.Client, asked: dict[str, Any]) -> None:
    """A 400, and the model goes on serving."""
    answer = model.post("/api/v1/chat/completions", json={"model": "jan-v1-4b", "messages": BEGUN[:1], **asked})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_schema")
    assert content(model, max_tokens=1) is not None


@pytest.mark.model
def test_the_model_goes_on(model: httpx.Client) -> None:
    """The message to be continued is in the prompt and open, and the answer continues it."""
    counted = [{"role": "user", "content": "Count."}, {"role": "assistant", "content": "1, 2, 3, 4, 5, 6,"}]
    continued = content(model, messages=counted, continue_final_message=True, temperature=0, max_tokens=6)
    assert continued.startswith(" 7")


@pytest.mark.model
@pytest.mark.parametrize("form", FORMS)
def test_a_model_of_another_form_calls(start_server: Any, form: str) -> None:
    """With the form of the option, the real model is held to a call and the call is read."""
    server = start_server(
        "models: [{id: m, engine: llamacpp, options: {context: 512, slots: 1, tool_format: " + form + "}}]"
    )
    parameters = {
        "type": "object",
        "properties": {"n": {"enum": [1, 2]}},
        "required": ["n"],
        "additionalProperties": False,
    }
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    with connect(server) as client:
        request = ask("Call f.", "m", tools=[tool], tool_choice="required", parallel_tool_calls=False)
        (choice,) = client.chat.completions.create(**request, max_tokens=60).choices
        (call,) = choice.message.tool_calls or []
        assert call.type == "function"
        assert call.function.name == "f"
        assert json.loads(call.function.arguments)["n"] in (1, 2)
        assert choice.finish_reason == "tool_calls"
    assert server.stop() == 0

"""The ExLlamaV2 engine behind a real server: on the GPU, or on the CPU with stand-ins for its kernels."""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.server import DEFAULT_CONFIG, ServerProcess, http_client

pytest.importorskip(
    "jan.engine.backends.exllama.v2", reason="ExLlamaV2 or PyTorch is not installed", exc_type=ImportError
)
tokenizers = pytest.importorskip("tokenizers")
pytestmark = pytest.mark.torch

PROGRAM = Path(__file__).resolve().parents[1] / "support" / "serve_on_any_device.py"
LONG = "The quick brown fox jumps over the lazy dog. " * 40
COLOUR = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "green"]}},
    "required": ["colour"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def client(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A server of the tiny model, on a thread: the stand-ins are in its own process. Its log must stay free of
    errors."""
    config = tmp_path_factory.mktemp("exllamav2") / "jan.yaml"
    options = f"{{model: {tiny_folder}, context: 1024, slots: 8, chunk: 256}}"
    config.write_text(
        f"extends: {DEFAULT_CONFIG}\nlog: {{format: json}}\n"
        f"models: [{{id: tiny, engine: exllamav2, isolation: thread, options: {options}}}]\n"
    )
    path = os.pathsep.join([str(PROGRAM.parents[1]), os.environ.get("PYTHONPATH", "")])
    server = ServerProcess(config, program=(str(PROGRAM),), environ={"PYTHONPATH": path})
    with http_client(server) as made:
        yield made
    assert server.stop() == 0
    assert server.errors() == []


def chat(client: httpx.Client, content: str, **options: Any) -> dict[str, Any]:
    body = {"model": "tiny", "messages": [{"role": "user", "content": content}], "temperature": 0, **options}
    response = client.post("/v1/chat/completions", json=body)
    assert response.status_code == 200, response.text
    answered: dict[str, Any] = response.json()
    return answered


def test_eight_at_once_answer_as_one_alone(client: httpx.Client) -> None:
    """Streams side by side give what each gives alone; a known beginning is reported as cached."""
    prompts = [f"{LONG} {number}" for number in range(8)]
    alone = [chat(client, prompt, max_tokens=6) for prompt in prompts]

    def streamed(prompt: str) -> str:
        body = {
            "model": "tiny",
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
            "max_tokens": 6,
            "stream": True,
        }
        with client.stream("POST", "/v1/chat/completions", json=body) as response:
            lines = [line[6:] for line in response.iter_lines() if line.startswith("data: ")]
        assert lines[-1] == "[DONE]"
        return "".join(json.loads(line)["choices"][0]["delta"].get("content") or "" for line in lines[:-1])

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(streamed, prompts))
    assert together == [answered["choices"][0]["message"]["content"] for answered in alone]
    assert alone[-1]["usage"]["prompt_tokens_details"]["cached_tokens"] >= 256


def test_schemas_and_tools_hold(client: httpx.Client) -> None:
    """Random weights too answer by a schema, and call the tool that they must call."""
    shape = {"type": "json_schema", "json_schema": {"name": "colour", "schema": COLOUR, "strict": True}}
    answered = chat(client, "Which?", max_tokens=40, response_format=shape)
    assert json.loads(answered["choices"][0]["message"]["content"])["colour"] in ("red", "green")
    tools = [{"type": "function", "function": {"name": "paint", "parameters": COLOUR}}]
    answered = chat(
        client, "Paint!", max_tokens=60, tools=tools, tool_choice="required", parallel_tool_calls=False
    )
    [call] = answered["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] == "paint"
    assert json.loads(call["function"]["arguments"])["colour"] in ("red", "green")


def test_a_prompt_beyond_the_context_is_a_400(client: httpx.Client) -> None:
    """With the numbers, and nothing of it is lost on the server."""
    body = {"model": "tiny", "messages": [{"role": "user", "content": LONG * 4}]}
    response = client.post("/v1/chat/completions", json=body)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"
    assert "1024 tokens" in response.json()["error"]["message"]


def test_tokens_are_shown_as_the_folders_tokenizer_has_them(client: httpx.Client, tiny_folder: Path) -> None:
    """A text and a chat, and back again; a token that is not there is refused by its place."""

    def post(path: str, **body: Any) -> dict[str, Any]:
        response = client.post(path, json={"model": "tiny", **body})
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    theirs = tokenizers.Tokenizer.from_file(str(tiny_folder / "tokenizer.json"))
    text = "What is the capital of France ? \u5abd \U0001f917"
    found = post("/tokenize", prompt=text, return_token_strs=True)
    assert found["tokens"] == theirs.encode(text, add_special_tokens=False).ids
    assert found["token_strs"] == [theirs.id_to_token(token) for token in found["tokens"]]
    assert post("/detokenize", tokens=found["tokens"]) == {"prompt": text}
    messages = [{"role": "user", "content": "Hi there!"}]
    rendered = post("/v1/chat/completions/render", messages=messages)
    assert post("/tokenize", messages=messages)["tokens"] == rendered["token_ids"]
    assert theirs.encode(rendered["prompt"], add_special_tokens=False).ids == rendered["token_ids"]
    assert chat(client, "Hi there!", max_tokens=1)["usage"]["prompt_tokens"] == len(rendered["token_ids"])
    refused = client.post("/detokenize", json={"model": "tiny", "tokens": [1, 10**6]})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "tokens[1]")
    assert client.get("/tokenizer_info", params={"model": "tiny"}).json()["vocab_size"] == theirs.get_vocab_size()

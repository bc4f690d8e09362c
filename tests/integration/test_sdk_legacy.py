"""The `openai` Python SDK as it was before version 1, which the API reference's Python sample is written for."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.sdk import REQUEST_ID, TEXT, WORDS
from support.server import MODEL, ServerProcess

pytestmark = pytest.mark.sdk

VERSION = "0.28.1"

# As the reference prints it; only the host and the port are another's.
SAMPLE = """\
import openai
openai.api_base = "http://localhost:8080/api/v1"
openai.api_key = "your-jwt-token"
response = openai.ChatCompletion.create(
    model="jan-v1-4b",
    messages=[
        {"role": "user", "content": "Hello!"}
    ]
)
"""

OPENING = f"""\
import asyncio, json, sys
import openai
openai.api_base = "http://localhost:8080/api/v1"
openai.api_key = "your-jwt-token"
question = {{"model": "{MODEL}", "messages": [{{"role": "user", "content": "{TEXT}"}}]}}
def show(value): print(json.dumps(value))
def said(chunks): return [chunk.choices[0].delta.get("content", "") for chunk in chunks if chunk.choices]
"""

Run = Callable[[str], Any]


@pytest.fixture(scope="module")
def run(echo_server: ServerProcess, install_once: Callable[..., Path]) -> Run:
    """Runs a program that uses the old SDK, in a process of its own: it can't be imported beside the new one.
    Gives what the program printed, read as JSON."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # By interpreter: some of its dependencies are compiled.
    name = f"openai-{VERSION}-{sys.implementation.cache_tag}"
    folder = install_once(name, *pip, "--target", ".", f"openai=={VERSION}")

    def run(program: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-c", echo_server.fill_in(program)],
            env={**os.environ, "PYTHONPATH": str(folder), "NO_PROXY": "127.0.0.1"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_the_references_sample(run: Run) -> None:
    """The sample runs as printed and gets a chat completion."""
    response = run(SAMPLE + "print(response)")
    assert (response["object"], response["model"]) == ("chat.completion", MODEL)
    (choice,) = response["choices"]
    assert choice["message"]["role"] == "assistant"
    assert (choice["message"]["content"], choice["finish_reason"]) == ("Hello!", "stop")


def test_stream(run: Run) -> None:
    """Streamed chunks add up to the text, with usage where it is asked for; so for asynchronous callers."""
    plain, with_usage, asynchronous = run(f"""{OPENING}
plain = list(openai.ChatCompletion.create(**question, stream=True))
options = {{"include_usage": True}}
*chunks, last = openai.ChatCompletion.create(**question, stream=True, stream_options=options)
async def main():
    return [chunk async for chunk in await openai.ChatCompletion.acreate(**question, stream=True)]
show([said(plain), [*said(chunks), last.usage.total_tokens], said(asyncio.run(main()))])
""")
    *pieces, total = with_usage
    assert "".join(plain) == "".join(pieces) == "".join(asynchronous) == TEXT
    assert total == 2 * WORDS


def test_models_and_text_completions(run: Run) -> None:
    """The other endpoints of the reference answer as well."""
    models, text = run(f"""{OPENING}
models = [model.id for model in openai.Model.list().data]
show([models, openai.Completion.create(model="{MODEL}", prompt="one two", max_tokens=1).choices[0].text])
""")
    assert MODEL in models
    assert text == "one "


@pytest.mark.parametrize(
    ("wrong", "status", "param", "code"),
    [
        ({"temperature": 3}, 400, "temperature", "invalid_value"),
        ({"temperature": 3, "stream": True}, 400, "temperature", "invalid_value"),
        ({"model": "gpt-4"}, 404, "model", "model_not_found"),
    ],
)
def test_errors(run: Run, wrong: dict[str, Any], status: int, param: str, code: str) -> None:
    """Refusals are this SDK's InvalidRequestError, with param, code, and the request id among the headers."""
    caught = run(f"""{OPENING}
try:
    openai.ChatCompletion.create(**{{**question, **{wrong!r}}})
except openai.error.InvalidRequestError as error:
    show([error.http_status, error.param, error.code, error.headers["x-request-id"]])
""")
    assert caught[:3] == [status, param, code]
    assert REQUEST_ID.fullmatch(caught[3])

"""Check that the samples of README and docs run as they are printed."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.command import run_jan
from support.documents import blocks, blocks_of
from support.server import ROOT, ServerProcess, http_client

from jan.testing import served

BASE = "http://localhost:8080"


def _for(server: ServerProcess, block: str) -> str:
    """A sample with the server's address and key in place of the printed ones."""
    return block.replace(BASE, server.url).replace("jan_...", server.admin_key)


def _run(command: list[str], folder: Path, **environ: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.model
@pytest.mark.parametrize("block", blocks("bash", "curl "))
def test_curl_samples_run(model_server: ServerProcess, tmp_path: Path, block: str) -> None:
    """Each curl sample is answered: a completion, events up to [DONE], the same object twice, a list, or a
    preset."""
    assert shutil.which("curl"), "curl is not on PATH"
    script = _for(model_server, block).replace("curl ", "curl --fail-with-body --silent ")
    ran = _run(["bash", "-euc", script], tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    if '"stream": true' in block:
        assert ran.stdout.startswith("id: ")
        assert ran.stdout.rstrip().endswith("data: [DONE]")
    elif "Idempotency-Key" in block:
        first, second = ran.stdout.splitlines()
        assert json.loads(first)["title"]
        assert first == second
    elif "/search" in block:
        assert json.loads(ran.stdout)["object"] == "list"
    elif "/user/presets" in block:
        assert json.loads(ran.stdout)["object"] == "preset"
    else:
        assert json.loads(ran.stdout)["choices"][0]["message"]["content"]


@pytest.mark.model
@pytest.mark.sdk
@pytest.mark.parametrize("block", blocks("python", "from openai import"))
def test_the_python_sample_runs(model_server: ServerProcess, tmp_path: Path, block: str) -> None:
    """The sample runs with OpenAI's Python SDK and prints an answer and the tool that was called."""
    (tmp_path / "sample.py").write_text(_for(model_server, block))
    ran = _run([sys.executable, "sample.py"], tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "name='look_up'" in ran.stdout.splitlines()[-1]


@pytest.mark.model
@pytest.mark.sdk
@pytest.mark.parametrize("block", blocks("javascript", 'from "openai"'))
def test_the_javascript_sample_runs(
    model_server: ServerProcess, openai_npm: Path, tmp_path: Path, block: str
) -> None:
    """The sample runs with OpenAI's npm package and prints an answer."""
    (tmp_path / "node_modules").symlink_to(openai_npm / "node_modules")
    (tmp_path / "sample.mjs").write_text(_for(model_server, block))
    ran = _run(["node", "sample.mjs"], tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip()


@pytest.fixture
def plugin_server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server with the plugin of docs/plugins.md, its two blocks written to files as they are printed."""
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    (tmp_path / "greetings.py").write_text(blocks("python", "from jan.handler import")[0])
    (tmp_path / "my.yaml").write_text(blocks("yaml", "routes:")[0])
    server = ServerProcess(tmp_path / "my.yaml", environ={"JAN__MODELS": "[{id: echo, engine: echo}]"})
    yield server
    assert server.stop() == 0


def test_the_plugin_works_as_printed(plugin_server: ServerProcess) -> None:
    """The class and the entry are served, and documented."""
    with http_client(plugin_server) as client:
        assert client.get("/api/v1/greet/Ada").json() == {"text": "Ahoy, Ada!"}
        assert "/api/v1/greet/{name}" in client.get("/api/openapi.json").json()["paths"]


def test_the_engine_works_as_printed(tmp_path: Path) -> None:
    """The printed backend serves whole and streamed answers, with its options, and passes for an engine."""
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    (tmp_path / "shouting.py").write_text(blocks("python", "class Shout:")[0])
    (tmp_path / "my.yaml").write_text(blocks("yaml", "engine: shouting.Shout")[0])
    body = {"model": "shout", "messages": [{"role": "user", "content": "hello you there"}]}
    with served(tmp_path / "my.yaml") as server:
        answer = server.client.post("/api/v1/chat/completions", json=body).json()
        assert answer["choices"][0]["message"]["content"].split() == ["HELLO", "YOU", "THERE"]
        assert answer["choices"][0]["finish_reason"] == "stop"
        assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6} | {
            "prompt_tokens_details": {"cached_tokens": 0}
        }
        parts = {"messages": [{"role": "user", "content": [{"type": "text", "text": "hello in parts"}]}]}
        answer = server.client.post("/api/v1/chat/completions", json=body | parts).json()
        assert answer["choices"][0]["message"]["content"].split() == ["HELLO", "IN", "PARTS"]
        cut = server.client.post("/api/v1/chat/completions", json=body | {"max_tokens": 1, "stream": True})
        assert "HELLO" in cut.text
        assert "YOU" not in cut.text
        assert '"finish_reason":"length"' in cut.text
        long = body | {"messages": [{"role": "user", "content": "word " * 512}]}
        refused = server.client.post("/api/v1/chat/completions", json=long)
        assert refused.json()["error"]["code"] == "context_length_exceeded"
        assert server.errors == []


def test_the_hooks_work_as_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The printed hooks shorten an anonymous caller's answer, not a user's, and print what both used."""
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    (tmp_path / "gates.py").write_text(blocks("python", "class ShortForStrangers")[0])
    (tmp_path / "my.yaml").write_text(blocks("yaml", "hooks:")[0])
    body = {"model": "echo", "messages": [{"role": "user", "content": "word " * 30}]}
    with served(tmp_path / "my.yaml", environ={"JAN__MODELS": "[{id: echo, engine: echo}]"}) as server:
        for client, tokens in ((server.client, 20), (server.admin, 30)):
            answer = client.post("/api/v1/chat/completions", json=body)
            assert answer.json()["usage"]["completion_tokens"] == tokens
            printed = capsys.readouterr().out.split()
            assert printed == [answer.headers["X-Request-Id"], "chat.completions", "echo", str(tokens)]
        assert server.errors == []


@pytest.mark.parametrize(
    ("plugin", "test", "passed"),
    [("class Greet(", "from greetings import", 1), ("class Shout:", "from shouting import", 16)],
)
def test_the_tests_of_plugins_work_as_printed(tmp_path: Path, plugin: str, test: str, passed: int) -> None:
    """The printed tests pass beside the printed plugins."""
    module = test.split()[1]
    (tmp_path / f"{module}.py").write_text(blocks("python", plugin)[0])
    (tmp_path / f"test_{module}.py").write_text(blocks("python", test)[0])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"test_{module}.py"]
    ran = _run(command, tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert int(ran.stdout.rpartition(" passed")[0].split()[-1]) >= passed


@pytest.mark.parametrize("sample", blocks("yaml", "/path/to/model.gguf"))
def test_the_configuration_of_a_model_of_ones_own_is_right(tmp_path: Path, sample: str) -> None:
    """`jan check` accepts the sample once the file is there, and names the file while it is not."""
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    (tmp_path / "my.yaml").write_text(sample)
    ran = run_jan("check", "my.yaml", cwd=tmp_path)
    assert ran.returncode == 1
    assert "/path/to/model.gguf" in ran.stderr
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    (tmp_path / "my.yaml").write_text(sample.replace("/path/to/", f"{tmp_path}/"))
    ran = run_jan("check", "my.yaml", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr


def test_the_error_sample_is_the_servers(echo: httpx.Client) -> None:
    """The printed envelope is that of an unknown model, but for the names that this server has."""
    (sample,) = blocks("json", '"error": {')
    body = {"model": "gpt-9", "messages": [{"role": "user", "content": "Hello!"}]}
    real = echo.post("/api/v1/chat/completions", json=body).json()["error"]
    printed = json.loads(sample)["error"]
    beginning = printed.pop("message").removesuffix("...")
    assert real.pop("message").startswith(beginning)
    assert real == printed


def test_the_commands_to_begin_with_are_there() -> None:
    """tools/serve and tools/test can be run, and the README's first two blocks are they."""
    assert [text.strip() for _, text in blocks_of("README.md")[:2]] == ["tools/serve", "tools/test"]
    assert all(os.access(ROOT / name, os.X_OK) for name in ("tools/serve", "tools/test"))

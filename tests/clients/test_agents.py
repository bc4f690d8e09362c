"""Agents from their packages: each lists files by a call of its own tool, and ends."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from clients.environments import AGENT_PACKAGES, HERE, INSTALL_SECONDS, node_folder
from support.server import ServerProcess

pytestmark = [pytest.mark.heavy, pytest.mark.sdk, pytest.mark.timeout(2 * INSTALL_SECONDS)]

FILE = "a-file-that-only-this-test-has.txt"
CODEX = """
model = "scripted"
model_provider = "jan"

[model_providers.jan]
name = "Jan"
base_url = "{url}/v1"
wire_api = "responses"
env_key = "JAN_API_KEY"
"""
# JSON is YAML.
CONTINUE = {"provider": "openai", "model": "scripted", "roles": ["chat", "edit", "apply"], "name": "Jan"}


@pytest.fixture(scope="session")
def agents(install_once: Callable[..., Path]) -> Path:
    """The folder of the commands."""
    return node_folder(install_once, "agents", AGENT_PACKAGES) / "node_modules"


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs a command in a folder with one file, and with a home of its own."""
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    (work / FILE).write_text("")

    def run(*command: str | Path, **environ: str) -> "subprocess.CompletedProcess[str]":
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        done = subprocess.run(
            command,
            cwd=work,
            env={**kept, "HOME": str(home), "NO_PROXY": "127.0.0.1", **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done

    return run


@pytest.fixture
def codex(
    agents: Path,
    clients_server: ServerProcess,
    run: Callable[..., "subprocess.CompletedProcess[str]"],
    tmp_path: Path,
) -> Callable[..., list[dict[str, Any]]]:
    """Gives Codex a task, and its settings more; returns the items that it completed."""

    def codex(task: str, more: str = "") -> list[dict[str, Any]]:
        settings = tmp_path / "codex"
        settings.mkdir()
        (settings / "config.toml").write_text(CODEX.format(url=clients_server.url) + more)
        options = ("--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "--json")
        command = ("node", agents / "@openai/codex/bin/codex.js", "exec", *options, task)
        done = run(*command, CODEX_HOME=str(settings), JAN_API_KEY=clients_server.admin_key)
        events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        assert events[-1]["type"] == "turn.completed"
        return [event["item"] for event in events if event["type"] == "item.completed"]

    return codex


def test_codex_lists_files(
    codex: Callable[..., list[dict[str, Any]]], record_property: Callable[[str, object], None]
) -> None:
    """It calls its tool for commands over the Responses API, and its last message is the result."""
    items = codex("list the files")
    [called] = [item for item in items if item["type"] == "command_execution"]
    assert (called["exit_code"], FILE in called["aggregated_output"]) == (0, True)
    assert FILE in [item["text"] for item in items if item["type"] == "agent_message"][-1]
    record_property("printed", "| @openai/codex | 0.171.0 | responses_stream, tools |")


def test_codex_calls_a_tool_of_an_mcp_server(codex: Callable[..., list[dict[str, Any]]]) -> None:
    """It sends such tools in a namespace, and finds the tool of a call by that and by the tool's own name."""
    shelf = json.dumps([str(HERE / "programs" / "shelf.py")])
    items = codex("read_shelf", f"\n[mcp_servers.shelf]\ncommand = {json.dumps(sys.executable)}\nargs = {shelf}\n")
    [called] = [item for item in items if item["type"] == "mcp_tool_call"]
    assert (called["server"], called["tool"], called["status"]) == ("shelf", "read_shelf", "completed")
    assert "A book about the sea." in [item["text"] for item in items if item["type"] == "agent_message"][-1]


def test_claude_code_lists_files(
    agents: Path,
    clients_server: ServerProcess,
    run: Callable[..., "subprocess.CompletedProcess[str]"],
    record_property: Callable[[str, object], None],
) -> None:
    """It calls Bash over the Messages API, and its result is what that printed."""
    wrapper = agents / "@anthropic-ai/claude-code/cli-wrapper.cjs"
    done = run(
        *("node", wrapper, "-p", "list the files", "--allowedTools", "Bash", "--output-format", "json"),
        ANTHROPIC_BASE_URL=f"{clients_server.url}/api",
        ANTHROPIC_AUTH_TOKEN=clients_server.admin_key,
        ANTHROPIC_MODEL="scripted",
        ANTHROPIC_SMALL_FAST_MODEL="scripted",
        DISABLE_TELEMETRY="1",
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
    )
    result = json.loads(done.stdout)
    assert (result["subtype"], result["is_error"], result["num_turns"]) == ("success", False, 2)
    assert FILE in result["result"]
    record_property("printed", "| @anthropic-ai/claude-code | 2.1.197 | messages_stream, tools |")


def test_continue_lists_files(
    agents: Path,
    clients_server: ServerProcess,
    run: Callable[..., "subprocess.CompletedProcess[str]"],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """Its command calls Bash over chat completions, and prints what that printed."""
    model = {**CONTINUE, "apiBase": f"{clients_server.url}/v1", "apiKey": clients_server.admin_key}
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"name": "Jan", "version": "1.0.0", "schema": "v1", "models": [model]}))
    command = (
        "node",
        agents / "@continuedev/cli/dist/cn.js",
        "-p",
        "--auto",
        "--config",
        config,
        "list the files",
    )
    assert FILE in run(*command, CONTINUE_TELEMETRY_ENABLED="0").stdout
    record_property("printed", "| @continuedev/cli | 1.5.47 | stream, tools |")

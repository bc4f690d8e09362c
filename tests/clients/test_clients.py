"""Real clients of all APIs, each as its own documentation has it: what they can do with this server."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from clients.environments import CLIENTS, HERE, INSTALL_SECONDS, NODE_PACKAGES, Client, node_folder, python_folder
from support.install import node_problem
from support.server import ServerProcess

pytestmark = [pytest.mark.heavy, pytest.mark.sdk, pytest.mark.timeout(2 * INSTALL_SECONDS)]

TEXT = "Hello, dear server!"
# What each ability must return; a refusal has the text of our error in it.
EXPECTED: dict[str, Any] = {
    "chat": TEXT,
    "stream": TEXT,
    "tools": "Sunny in Paris.",
    "structured": {"city": "Paris", "days": 2},
    "responses": TEXT,
    "responses_stream": TEXT,
    "messages": TEXT,
    "messages_stream": TEXT,
    # Numbers of the vector.
    "embeddings": 384,
}
REFUSAL = "There is no model 'nobody'"
# Nothing is asked for outside of this machine.
OFFLINE = {"NO_PROXY": "127.0.0.1", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "OPENAI_AGENTS_DISABLE_TRACING": "1"}
STRICT = ("-W", "error", "-W", "ignore::ResourceWarning")


def _played(command: Iterable[str], folder: Path, environ: dict[str, str]) -> dict[str, Any]:
    """Return what each ability of a program returned, or how it failed."""
    done = subprocess.run(
        [*command],
        cwd=folder,
        env={**os.environ, **OFFLINE, **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"ability"')]
    assert lines, done.stderr[-3000:]
    return {line["ability"]: line.get("found", line.get("problem")) for line in lines}


@pytest.fixture
def play(
    install_once: Callable[..., Path], clients_server: ServerProcess, tmp_path: Path
) -> Callable[[Client], dict[str, Any]]:
    """Runs a client's program in its environment."""
    server = (clients_server.url, clients_server.admin_key)

    def run(client: Client) -> dict[str, Any]:
        if client.group:
            path = f"{python_folder(install_once, client.group)}{os.pathsep}{HERE}"
            warnings = STRICT if client.strict else ()
            # Without the packages of the tests' own environment.
            command = (sys.executable, "-S", *warnings, str(HERE / "play.py"), client.program, *server)
            return _played(command, tmp_path, {"PYTHONPATH": path})
        if problem := node_problem():
            pytest.fail(problem)
        folder = node_folder(install_once, "node", NODE_PACKAGES)
        # Imports are looked up from the folder of the file.
        (tmp_path / "node_modules").symlink_to(folder / "node_modules")
        shutil.copytree(HERE / "programs", tmp_path / "programs", ignore=shutil.ignore_patterns("*.py"))
        shutil.copy(HERE / "play.mjs", tmp_path)
        program = ("node", "play.mjs", f"./programs/{client.program}.mjs", *server)
        return _played(program, tmp_path, {})

    return run


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.program)
def test_a_client_works(
    client: Client, play: Callable[[Client], dict[str, Any]], record_property: Callable[[str, object], None]
) -> None:
    """Each of its abilities gives what is expected, also what it makes of a refusal."""
    found = play(client)
    works = [name for name, what in found.items() if _works(name, what)]
    record_property("printed", f"| {client.package} | {client.version} | {', '.join(sorted(works))} |")
    assert {name: what for name, what in found.items() if name not in works} == {}
    assert "errors" in works


def _works(ability: str, found: Any) -> bool:
    if ability == "errors":
        return REFUSAL in " ".join(str(found).split())
    return bool(found == EXPECTED[ability])

"""The `openai` npm package, for the tests that drive it."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.server import ServerProcess

SCENARIOS = Path(__file__).with_name("sdk_node.mjs")


@pytest.fixture(scope="session")
def node(openai_npm: Path) -> Callable[..., Any]:
    """Runs a module that uses the SDK; gives what it printed, read as JSON."""

    def run(program: str, *arguments: str) -> Any:
        done = subprocess.run(
            # From standard input, a module's imports are looked up in the working folder.
            ["node", "--input-type=module", "-", *arguments],
            input=program,
            cwd=openai_npm,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="session")
def play(node: Callable[..., Any]) -> Callable[..., Any]:
    """Runs a scenario of sdk_node.mjs on a server."""

    def play(scenario: str, server: ServerProcess, argument: str = "") -> Any:
        return node(server.fill_in(SCENARIOS.read_text()), scenario, server.url, argument)

    return play

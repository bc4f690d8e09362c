"""The `openai` npm package, for the tests that drive it."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.patience import code_of, otherwise
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
def play(openai_npm: Path) -> Iterator[Callable[..., Any]]:
    """Runs a scenario of sdk_node.mjs on a server, all in one process: each would load the SDK anew."""
    process = subprocess.Popen(
        ["node", "--input-type=module", "--eval", SCENARIOS.read_text()],
        cwd=openai_npm,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    asked, answered = process.stdin, process.stdout

    def play(scenario: str, server: ServerProcess, argument: str = "") -> Any:
        asked.write(json.dumps({"scenario": scenario, "url": server.url, "argument": argument}) + "\n")
        asked.flush()
        with otherwise(process.kill):
            line = answered.readline()
        assert line, f"{scenario}: node printed nothing, and why on standard error"
        return json.loads(line)

    yield play
    asked.close()
    assert code_of(process, 20) == 0
    answered.close()

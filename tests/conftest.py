"""Real servers over real HTTP, both kinds of engine."""

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from server_support import DEFAULT_CONFIG, ECHO_CONFIG, ROOT, ServerProcess, http_client


@pytest.fixture(scope="session")
def echo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with echo models: deterministic and fast. Its log must stay free of errors."""
    config = tmp_path_factory.mktemp("echo") / "jan.yaml"
    config.write_text(ECHO_CONFIG)
    server = ServerProcess(config)
    yield server
    assert server.stop() == 0
    assert server.errors() == []


@pytest.fixture(scope="session")
def model_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The default configuration, with the real bundled model. Its log must stay free of errors."""
    config = tmp_path_factory.mktemp("model") / "jan.yaml"
    config.write_text(f"extends: {DEFAULT_CONFIG}\nlog: {{format: json}}\nserver: {{grace_seconds: 5}}\n")
    server = ServerProcess(config)
    yield server
    assert server.stop() == 0
    assert server.errors() == []


@pytest.fixture(scope="session")
def echo(echo_server: ServerProcess) -> Iterator[httpx.Client]:
    with http_client(echo_server) as client:
        yield client


@pytest.fixture(scope="session")
def model(model_server: ServerProcess) -> Iterator[httpx.Client]:
    with http_client(model_server) as client:
        yield client


@pytest.fixture(scope="session")
def cache_dir() -> Path:
    """Where tests keep what they install for themselves between runs."""
    folder = Path(os.environ.get("JAN_TEST_CACHE", ROOT / ".cache"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder

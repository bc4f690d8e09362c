"""Real servers over real HTTP, both kinds of engine."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

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
def model_admin(model_server: ServerProcess) -> Iterator[httpx.Client]:
    """A client of the model server with the administrator's key."""
    with http_client(model_server, headers={"Authorization": f"Bearer {model_server.admin_key}"}) as client:
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


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[[str], ServerProcess]]:
    """Starts servers of a test's own, by what their configuration has beyond the default one."""
    servers: list[ServerProcess] = []

    def start(settings: str) -> ServerProcess:
        config = tmp_path / f"jan-{len(servers)}.yaml"
        config.write_text(f"extends: {DEFAULT_CONFIG}\nlog: {{format: json}}\n{settings}")
        servers.append(ServerProcess(config))
        return servers[-1]

    yield start
    for server in servers:
        server.kill_if_running()


@pytest.fixture(scope="session")
def install_once(cache_dir: Path) -> Callable[..., Path]:
    """Fills a folder of the cache by a command that runs in it, unless an earlier run has."""

    def install(name: str, *command: str) -> Path:
        folder = cache_dir / name
        if not folder.exists():
            # Under its own name only when complete, so that an interrupted run leaves nothing half done.
            with TemporaryDirectory(dir=cache_dir) as temporary:
                made = Path(temporary) / "made"
                made.mkdir()
                subprocess.run(command, cwd=made, check=True)
                made.rename(folder)
        return folder

    return install

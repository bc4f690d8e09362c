"""Real servers over real HTTP, both kinds of engine; and the database that both kinds of store are tested on."""

import os
import secrets
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit, urlunsplit

import httpx
import pytest
from conversation_support import StoredServer
from mongodb_support import SecantusServer, install_secantus
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


@pytest.fixture(scope="session")
def secantus(cache_dir: Path) -> Path:
    """The test database's executable."""
    return install_secantus(cache_dir)


@pytest.fixture
def own_server(secantus: Path, tmp_path: Path) -> Iterator[SecantusServer]:
    """A started server of the test's own, to be killed at will."""
    pytest.importorskip("motor")
    server = SecantusServer(secantus, tmp_path)
    server.start()
    yield server
    server.stop(signal.SIGKILL)


@pytest.fixture(scope="session")
def mongodb_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], str]]:
    """Gives the URL of a database by name, on one server for all tests.

    ``JAN_TEST_MONGODB_URL`` names another server to test against; databases made there have random names and
    are dropped.
    """
    if given := os.environ.get("JAN_TEST_MONGODB_URL"):
        yield lambda database: urlunsplit(urlsplit(given)._replace(path=f"/{database}"))
        return
    server = SecantusServer(request.getfixturevalue("secantus"), tmp_path_factory.mktemp("secantus"))
    server.start()
    yield server.url
    server.stop(signal.SIGKILL)


@pytest.fixture(scope="session", params=["sqlite", "mongodb"])
def stored_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StoredServer]:
    """An echo server on a store of each backend in turn. Its log must stay free of errors."""
    folder, store_url = tmp_path_factory.mktemp(request.param), None
    if request.param == "mongodb":
        pytest.importorskip("motor")
        store_url = request.getfixturevalue("mongodb_url")(f"jan_test_{secrets.token_hex(6)}")
    server = StoredServer(folder, store_url)
    yield server
    assert server.process.stop() == 0
    assert server.process.errors() == []
    if store_url is not None:
        import pymongo

        with pymongo.MongoClient[dict[str, object]](store_url) as client:
            client.drop_database(client.get_default_database().name)


@pytest.fixture
def me(stored_server: StoredServer) -> Iterator[httpx.Client]:
    """A person of the test's own, with all of a user's permissions."""
    with stored_server.client(stored_server.add_user()) as client:
        yield client


@pytest.fixture
def somebody(stored_server: StoredServer) -> Iterator[httpx.Client]:
    """Another person."""
    with stored_server.client(stored_server.add_user()) as client:
        yield client

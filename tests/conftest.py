"""Real servers over real HTTP, both kinds of engine; and the database that both kinds of store are tested on."""

import gc
import os
import secrets
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx
import pytest
import yaml
from support.conversation import StoredServer
from support.cpu import CpuReport
from support.forked import end_fork_parent
from support.install import fill_once, node_problem
from support.metrics import scrape
from support.mongodb import SecantusServer, install_secantus, mongo_client
from support.patience import until
from support.printed import Printed
from support.selection import NOT_QUICK, Quick, longest_first
from support.server import DEFAULT_CONFIG, ECHO_CONFIG, EMBEDDER, ROOT, ServerProcess, http_client

pytest.register_assert_rewrite("jan.testing.engine_contract", "jan.testing.backend_contract")

OPENAI_NPM = "7.57.0"

# As the engine has it, but before any test's module loads the library that reads it.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
# Several files are tested at once, so a model has one thread: a second one takes as much CPU time to wait for the
# first as it saves.
os.environ.setdefault("OMP_THREAD_LIMIT", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of our own."""
    parser.addoption("--cpu", action="store_true", help="print the CPU seconds of each test file")
    parser.addoption("--slow-browser", type=float, metavar="TIMES", help="the page's tests in a slow browser")
    parser.addoption("--quick", action="store_true", help=f"no tests marked {', '.join(NOT_QUICK)}")


def pytest_configure(config: pytest.Config) -> None:
    """Servers and programs under test get signals as from a terminal, though a script in the background started
    the tests: what is ignored there would be ignored by all their children too."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    config.pluginmanager.register(Printed())
    if config.getoption("--cpu"):
        config.pluginmanager.register(CpuReport())
    if config.getoption("--quick"):
        config.pluginmanager.register(Quick())


def pytest_collection_finish() -> None:
    """Freeze imported modules: scanning them for garbage again and again takes seconds."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Wait for the process that servers were forked from."""
    end_fork_parent()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    longest_first(items)


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
    models = [*yaml.safe_load(DEFAULT_CONFIG.read_text())["models"]]
    models.append({"id": EMBEDDER, "engine": "echo", "options": {"dimensions": 16}})
    others = yaml.safe_dump({"models": models})
    config.write_text(f"extends: {DEFAULT_CONFIG}\nlog: {{format: json}}\nserver: {{grace_seconds: 5}}\n{others}")
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


@pytest.fixture(autouse=True)
def model_alone(request: pytest.FixtureRequest) -> None:
    """A test of the model server begins when nothing of an earlier one is under way there: what is computed
    together changes the last bits of the logits, and so a draw now and then."""
    if "model_server" in request.fixturenames:
        client = request.getfixturevalue("model")
        assert until(lambda: not sum(v for (name, _), v in scrape(client).items() if name == "jan_engine_running"))


@pytest.fixture(scope="session")
def cache_dir() -> Path:
    """Where tests keep what they install for themselves between runs."""
    folder = Path(os.environ.get("JAN_TEST_CACHE", ROOT / ".cache"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def tiny_folder(cache_dir: Path) -> Path:
    """A model folder of random weights, with a part of the bundled model's vocabulary."""
    pytest.importorskip("safetensors", reason="the safetensors library is not installed")
    from support.folder_models import made_once, write_tiny

    return made_once(cache_dir / "tiny-folder-4096", write_tiny)


@pytest.fixture(scope="session")
def bundled_folder(cache_dir: Path) -> Path:
    """The bundled model as a folder."""
    pytest.importorskip("safetensors", reason="the safetensors library is not installed")
    from support.folder_models import made_once, write_bundled

    return made_once(cache_dir / "bundled-folder", write_bundled)


@pytest.fixture(scope="session")
def minilm(cache_dir: Path) -> Path:
    """The real all-MiniLM-L6-v2, a model that embeds, as a GGUF file."""
    pytest.importorskip("safetensors", reason="the safetensors library is not installed")
    from support.minilm import minilm_file

    return minilm_file(cache_dir)


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[[str], ServerProcess]]:
    """Starts servers of a test's own, by what their configuration has beyond the default one."""
    numbers = count()
    with ExitStack() as servers:

        def start(settings: str) -> ServerProcess:
            config = tmp_path / f"jan-{next(numbers)}.yaml"
            config.write_text(f"extends: {DEFAULT_CONFIG}\nlog: {{format: json}}\n{settings}")
            server = ServerProcess(config)
            servers.callback(server.kill_if_running)
            return server

        yield start


@pytest.fixture
def start_limited(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Starts echo servers that limit: by default, or as given; those of one ``folder`` share its store. Their logs
    must stay free of errors; where the test of one ``loses_store`` for a while, of others."""
    numbers = count()
    with ExitStack() as servers:

        def start(
            settings: str = "", folder: str = "own", *, loses_store: bool = False, **environ: str
        ) -> ServerProcess:
            home = tmp_path / folder
            home.mkdir(exist_ok=True)
            config = home / f"jan-{next(numbers)}.yaml"
            merged = {**yaml.safe_load(ECHO_CONFIG), **(yaml.safe_load(settings) or {})}
            config.write_text(yaml.safe_dump(merged))
            # A test is one address that sends all its requests at once.
            connections = {"JAN__SERVER__MAX_CONNECTIONS_PER_ADDRESS": "1024"}
            server = ServerProcess(config, limits=True, environ={**connections, **environ})
            servers.callback(_end, server, ["store failed"] if loses_store else [])
            return server

        yield start


def _end(server: ServerProcess, expected: list[str]) -> None:
    """Stop a server, if it was not; its log has no errors but those that are ``expected``."""
    if server.running:
        assert server.stop() == 0
    assert [entry for entry in server.errors() if entry["event"] not in expected] == []


@pytest.fixture(scope="session")
def install_once(cache_dir: Path) -> Callable[..., Path]:
    """Fills a folder of the cache by a command that runs in it, unless an earlier run has."""
    return partial(fill_once, cache_dir)


@pytest.fixture(scope="session")
def openai_npm(install_once: Callable[..., Path]) -> Path:
    """A folder whose node_modules has the `openai` npm package. Where there is no node the tests are skipped, but
    not where everything is expected to be there."""
    if problem := node_problem():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(problem)
    install = ["npm", "install", "--prefix", ".", "--no-audit", "--no-fund", "--ignore-scripts"]
    return install_once(f"openai-npm-{OPENAI_NPM}", *install, f"openai@{OPENAI_NPM}")


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
    try:
        server = StoredServer(folder, store_url)
        yield server
        assert server.process.stop() == 0
        assert server.process.errors() == []
    finally:
        # A server of our own ends with its data. To drop many texts would take it minutes.
        if store_url is not None and "JAN_TEST_MONGODB_URL" in os.environ:
            with mongo_client(store_url) as client:
                client.drop_database(client.get_default_database().name)


@pytest.fixture
def me(stored_server: StoredServer) -> Iterator[httpx.Client]:
    """A person of the test's own, with all of a user's permissions."""
    with stored_server.client(stored_server.add_user()) as client:
        yield client


@pytest.fixture
def somebody(stored_server: StoredServer) -> Iterator[httpx.Client]:
    """A second, unrelated person."""
    with stored_server.client(stored_server.add_user()) as client:
        yield client

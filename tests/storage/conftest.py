"""One open store of each backend, and the MongoDB-protocol server that the Mongo backend is tested against.

The server is SecantusDB (WiredTiger, MongoDB's wire protocol). It is GPL, so it lives in a virtual
environment of its own and is only ever another process. ``JAN_TEST_MONGODB_URL`` names another server to
test against instead; databases made there have random names and are dropped.
"""

import asyncio
import inspect
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit, urlunsplit

import pytest

from jan.storage import Store, open_store

SECANTUS = "SecantusDB==0.7.0b3"
REPOSITORY = Path(__file__).parents[2]
OPTIONS = "directConnection=true&retryWrites=false&journal=true&serverMonitoringMode=poll"


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run ``async def`` tests on the loop that their fixtures use."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    runner = cast(asyncio.Runner, pyfuncitem.funcargs["runner"])
    runner.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture(autouse=True)
def runner() -> Iterator[asyncio.Runner]:
    """The event loop of one test and its fixtures."""
    with asyncio.Runner() as runner:
        yield runner


class SecantusServer:
    """A server process on a free port of 127.0.0.1, durable across ``kill`` and ``start``."""

    def __init__(self, executable: Path, directory: Path) -> None:
        self._executable = executable
        self._directory = directory
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port: int = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str) -> str:
        """Where a database of this server is."""
        return f"mongodb://127.0.0.1:{self._port}/{database}?{OPTIONS}"

    def start(self) -> None:
        """Start the process and wait until it accepts connections."""
        arguments = ["--host", "127.0.0.1", "--port", str(self._port), "--sync-on-commit"]
        arguments += ["--cache-size", "256M", "--storage-path", str(self._directory / "data")]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("SECANTUS_")}
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._executable, *arguments], stdout=log, stderr=log, cwd=self._directory, env=environment
            )
        deadline = time.monotonic() + 60
        while not self._accepts():
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"SecantusDB did not start:\n{(self._directory / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self, sig: int = signal.SIGTERM) -> None:
        """End the process; SIGKILL gives it no chance to write anything."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(sig)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def pause(self, sig: int) -> None:
        """Send SIGSTOP or SIGCONT: a server that is there and does not answer."""
        assert self._process is not None
        self._process.send_signal(sig)

    def _accepts(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0


@pytest.fixture(scope="session")
def secantus() -> Path:
    """The server's executable, installed once into a cache directory."""
    cache = Path(os.environ.get("JAN_TEST_CACHE") or REPOSITORY / ".cache")
    home = cache / SECANTUS.replace("==", "-")
    executable = home / "bin" / "secantusd-py"
    if not executable.exists():
        shutil.rmtree(home, ignore_errors=True)
        venv.create(home, with_pip=True)
        command = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", SECANTUS]
        installed = subprocess.run(command, capture_output=True, text=True)
        if installed.returncode:
            shutil.rmtree(home, ignore_errors=True)
            stop = pytest.fail if os.environ.get("CI") else pytest.skip
            stop(f"can't install {SECANTUS}: {installed.stderr[-500:]}")
    return executable


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
    """Gives the URL of a database by name, on one server for all tests."""
    if given := os.environ.get("JAN_TEST_MONGODB_URL"):
        yield lambda database: urlunsplit(urlsplit(given)._replace(path=f"/{database}"))
        return
    server = SecantusServer(request.getfixturevalue("secantus"), tmp_path_factory.mktemp("secantus"))
    server.start()
    yield server.url
    server.stop(signal.SIGKILL)


@pytest.fixture(scope="session")
def shared_database(mongodb_url: Callable[[str], str]) -> Iterator[str]:
    """A MongoDB database for all tests: making the indexes for each one anew would take most of the time."""
    pytest.importorskip("motor")
    import pymongo

    name = f"jan_test_{secrets.token_hex(6)}"
    yield mongodb_url(name)
    with pymongo.MongoClient[dict[str, object]](mongodb_url(name)) as client:
        client.drop_database(name)


@pytest.fixture
def database_url(shared_database: str) -> str:
    """A MongoDB database without records; its schema may be up to date already."""
    import pymongo

    with pymongo.MongoClient[dict[str, object]](shared_database) as client:
        database = client.get_default_database()
        for name in set(database.list_collection_names()) - {"schema"}:
            database[name].delete_many({})
    return shared_database


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """An SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path}/store/jan.db"


@pytest.fixture(params=["sqlite", "mongodb"])
def url(request: pytest.FixtureRequest) -> str:
    """A store of each backend in turn."""
    name = "sqlite_url" if request.param == "sqlite" else "database_url"
    found: str = request.getfixturevalue(name)
    return found


@pytest.fixture
def opened(runner: asyncio.Runner) -> Iterator[Callable[..., Store]]:
    """Opens stores by URL, and closes them after the test."""
    stores: list[Store] = []

    def opened(url: str, *, timeout: float = 5.0) -> Store:
        store = open_store(url, timeout=timeout)
        runner.run(store.open())
        stores.append(store)
        return store

    yield opened
    for store in stores:
        runner.run(store.close())


@pytest.fixture
def store(opened: Callable[..., Store], url: str) -> Store:
    """An open, empty store."""
    return opened(url)


@pytest.fixture
def second_store(opened: Callable[..., Store], store: Store, url: str) -> Store:
    """The same database opened once more, as another process would."""
    return opened(url)


@pytest.fixture
def child() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts Python programs that are killed after the test if they still run."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(program: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", program, *arguments]
        processes.append(subprocess.Popen(command, cwd=REPOSITORY))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()

"""One open store of each backend."""

import asyncio
import inspect
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
from support.mongodb import mongo_client
from support.patience import kill

from jan.storage import Store, store_from_url

REPOSITORY = Path(__file__).parents[2]
_TEST_SECONDS = 120


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run ``async def`` tests on the loop that their fixtures use."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    runner = cast(asyncio.Runner, pyfuncitem.funcargs["runner"])
    test = pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})
    runner.run(asyncio.wait_for(test, _TEST_SECONDS))
    return True


@pytest.fixture(autouse=True)
def runner() -> Iterator[asyncio.Runner]:
    """The event loop of one test and its fixtures."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="session")
def shared_database(mongodb_url: Callable[[str], str]) -> Iterator[str]:
    """A MongoDB database for all tests: making the indexes for each one anew would take most of the time."""
    pytest.importorskip("motor")
    name = f"jan_test_{secrets.token_hex(6)}"
    yield mongodb_url(name)
    with mongo_client(mongodb_url(name)) as client:
        client.drop_database(name)


@pytest.fixture
def database_url(shared_database: str) -> str:
    """A MongoDB database without records; its schema may be up to date already."""
    with mongo_client(shared_database) as client:
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
        store = store_from_url(url, timeout=timeout)
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
        kill(process)

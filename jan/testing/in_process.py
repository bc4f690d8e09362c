"""A real server in the process of its test, and HTTP clients of it."""

import asyncio
import re
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from jan.application import Server
from jan.idempotency.ids import IdSource
from jan.schema.scopes import USER_SCOPES, Scope
from jan.settings import ModelSettings, RouteSettings, Settings
from jan.settings.load import default_config_file, load_settings, settings_from_text
from jan.settings.names import DottedName
from jan.storage.records import User
from jan.testing.log_records import LogRecords, Record

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
Configuration = str | Path | Settings

_BASE = """
extends: {default}
server: {{host: 127.0.0.1, grace_seconds: 1}}
limits: {{authenticated: "off", anonymous: "off", inference: "off"}}
models: [{{id: echo, engine: echo}}]
"""
_EXTENDS = re.compile(r"^extends:", re.MULTILINE)
_NO_VARIABLES: Mapping[str, str] = MappingProxyType({})


class _InProcess:
    """The common part of both kinds of server."""

    def __init__(self, application: Server, url: str, records: LogRecords) -> None:
        self.application = application
        self._records = records
        #: The base URL, without a slash at its end.
        self.url = url
        #: The log so far, each record as a mapping with ``event`` and ``level``.
        self.log: list[Record] = records.records
        #: The administrator's key; '' where the store had users before.
        self.admin_key = application.admin_key or ""

    @property
    def errors(self) -> list[Record]:
        """Log records of level error and worse: a healthy server has none."""
        return [record for record in self.log if record["level"] in ("error", "critical")]

    def _options(self, key: str, options: dict[str, Any]) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return {"base_url": self.url, "headers": headers, "timeout": 60, "trust_env": False, **options}

    async def _new_user(self, permissions: tuple[Scope, ...]) -> str:
        services = self.application.services
        user = await services.users.add(User(email=f"{secrets.token_hex(6)}@example.com"), IdSource())
        made = await services.keys.create(user.id, "test", permissions or tuple(sorted(USER_SCOPES)))
        return made.secret


class AsyncServer(_InProcess):
    """A server in the running event loop. Its clients are httpx.AsyncClient, and are closed with it."""

    def __init__(self, application: Server, url: str, records: LogRecords, clients: AsyncExitStack) -> None:
        super().__init__(application, url, records)
        self._clients = clients

    def connect(self, key: str = "", **options: Any) -> "httpx.AsyncClient":
        """Make a new client, with an API key or without. ``options`` are those of httpx.AsyncClient."""
        client: httpx.AsyncClient = _httpx().AsyncClient(**self._options(key, options))
        self._clients.push_async_callback(client.aclose)
        return client

    @cached_property
    def client(self) -> "httpx.AsyncClient":
        """A client without credentials."""
        return self.connect()

    @cached_property
    def admin(self) -> "httpx.AsyncClient":
        """A client with the administrator's key."""
        return self.connect(self.admin_key)

    async def add_user(self, *permissions: Scope) -> str:
        """Add a user; returns an API key of theirs with these permissions, or with all that users have."""
        return await self._new_user(permissions)


class ThreadServer(_InProcess):
    """A server on a thread of its own. Its clients are httpx.Client, and are closed with it."""

    def __init__(self, inner: AsyncServer, loop: asyncio.AbstractEventLoop, clients: ExitStack) -> None:
        super().__init__(inner.application, inner.url, inner._records)
        self._loop = loop
        self._clients = clients

    def connect(self, key: str = "", **options: Any) -> "httpx.Client":
        """Make a new client, with an API key or without. ``options`` are those of httpx.Client."""
        client: httpx.Client = _httpx().Client(**self._options(key, options))
        self._clients.callback(client.close)
        return client

    @cached_property
    def client(self) -> "httpx.Client":
        """A client without credentials."""
        return self.connect()

    @cached_property
    def admin(self) -> "httpx.Client":
        """A client with the administrator's key."""
        return self.connect(self.admin_key)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the server's loop; returns its result."""
        return asyncio.run_coroutine_threadsafe(self._records.own(work), self._loop).result()

    def add_user(self, *permissions: Scope) -> str:
        """Add a user; returns an API key of theirs with these permissions, or with all that users have."""
        return self.run(self._new_user(permissions))


def route(path: str, handler: type | str, name: str = "", **options: Any) -> RouteSettings:
    """Make a route as a configuration file would have it. ``handler``: a class, or its dotted name."""
    dotted = _dotted(handler)
    return RouteSettings(path=path, handler=dotted, name=name or dotted.rpartition(".")[2], options=options)


def model(name: str, engine: type | str = "echo", **options: Any) -> ModelSettings:
    """Make a model as a configuration file would have it. ``engine``: a class, its dotted name, or a name of
    ours."""
    return ModelSettings(id=name, engine=_dotted(engine), options=options)


def _dotted(target: type | str) -> DottedName:
    return DottedName(target) if isinstance(target, str) else DottedName.of(target)


@asynccontextmanager
async def serve(
    configuration: Configuration = "",
    *,
    routes: Iterable[RouteSettings] = (),
    models: Iterable[ModelSettings] = (),
    hooks: Iterable[type | str] = (),
    folder: Path | None = None,
    data: Path | None = None,
    environ: Mapping[str, str] = _NO_VARIABLES,
) -> AsyncIterator[AsyncServer]:
    """Run a server in the running loop. Raises ConfigurationError.

    Args:
        routes: added to those of the configuration; one with the same path is replaced.
        models: served instead of those of the configuration.
        hooks: added to those of the configuration; classes or dotted names.
        folder: where a text's relative paths and dotted names are looked up; by default the working folder.
        data: the server's folder, if it is to outlive the server.
        environ: the variables for ``${NAME}`` in the configuration.
    """
    with TemporaryDirectory(prefix="jan-testing-") as temporary:
        settings = _settings(configuration, folder or Path.cwd(), str(data or temporary), environ)
        settings = _with(settings, list(routes), tuple(models), [_dotted(hook) for hook in hooks])
        records, stopping = LogRecords(), asyncio.Event()
        started: asyncio.Future[tuple[Server, str]] = asyncio.get_running_loop().create_future()
        life = asyncio.create_task(_live(settings, records, started, stopping))
        try:
            # A server that can't start ends this task before ``started`` has a result.
            life.add_done_callback(lambda _life: started.cancel())
            await asyncio.wait({started})
            if life.done():
                life.result()
            async with AsyncExitStack() as clients:
                yield AsyncServer(*started.result(), records, clients)
        finally:
            stopping.set()
            await life


async def _live(
    settings: Settings,
    records: LogRecords,
    started: "asyncio.Future[tuple[Server, str]]",
    stopping: asyncio.Event,
) -> None:
    """Run the server until ``stopping`` is set. In a task of its own, so that only its log records are caught."""
    with records.catch():
        server = Server(settings, show_late_key=lambda _key: None)
        try:
            urls = await server.start(lambda _model, _part: None)
            started.set_result((server, urls[0]))
            await stopping.wait()
        finally:
            await server.stop()


@contextmanager
def served(configuration: Configuration = "", **options: Any) -> Iterator[ThreadServer]:
    """Run a server on a thread of its own; the arguments are those of ``serve``."""
    begun: Future[tuple[AsyncServer, asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    ended: Future[None] = Future()
    ended.add_done_callback(lambda _ended: begun.cancel())

    async def live() -> None:
        async with serve(configuration, **options) as server:
            stopping = asyncio.Event()
            begun.set_result((server, asyncio.get_running_loop(), stopping))
            await stopping.wait()

    thread = threading.Thread(target=_settle, args=(ended, lambda: asyncio.run(live())), name="jan-testing")
    thread.start()
    try:
        inner, loop, stopping = begun.result()
    except CancelledError:
        thread.join()
        ended.result()
        raise
    try:
        with ExitStack() as clients:
            yield ThreadServer(inner, loop, clients)
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join()
        ended.result()


def _settle(ended: "Future[None]", work: Callable[[], None]) -> None:
    """Run ``work``, and put its end or its exception into the future that another thread waits for."""
    try:
        work()
    except BaseException as error:  # noqa: BLE001  # raised in that thread
        ended.set_exception(error)
    else:
        ended.set_result(None)


def _settings(configuration: Configuration, folder: Path, data: str, environ: Mapping[str, str]) -> Settings:
    """Return the settings of a configuration, with a free port and this data folder."""
    if isinstance(configuration, Settings):
        server = msgspec.structs.replace(configuration.server, port=0)
        return msgspec.structs.replace(configuration, server=server, data=data)
    if isinstance(configuration, Path):
        return load_settings(configuration, environ, server__port=0, data=data)
    if not _EXTENDS.search(configuration):
        base = Path(data) / "base.yaml"
        base.parent.mkdir(parents=True, exist_ok=True)
        base.write_text(_BASE.format(default=default_config_file()), encoding="utf-8")
        configuration = f"{configuration}\nextends: {base}\n"
    return settings_from_text(configuration, folder / "jan.yaml", environ, server__port=0, data=data)


def _with(
    settings: Settings,
    routes: list[RouteSettings],
    models: tuple[ModelSettings, ...],
    hooks: list[DottedName],
) -> Settings:
    """Return the settings with more routes and hooks, and with other models if there are any."""
    paths = {route.path for route in routes}
    kept = [route for route in settings.routes if route.path not in paths]
    return msgspec.structs.replace(
        settings,
        routes=(*kept, *routes),
        models=models or settings.models,
        hooks=(*settings.hooks, *hooks),
    )


def _httpx() -> Any:
    try:
        import httpx
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("jan.testing's clients need httpx: pip install httpx.", name="httpx") from error
    return httpx

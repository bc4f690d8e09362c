"""Test a plugin, or the server itself, without a process: a real server on a free port of 127.0.0.1.

``serve`` runs it in the running event loop, ``served`` on a thread of its own for tests that are not async. Both
give a server with an HTTP client (httpx must be installed), the administrator's key and the log's records, and
leave nothing behind::

    import msgspec
    from jan.handler import PUBLIC, Handler, operation
    from jan.testing import route, served

    class Greeting(msgspec.Struct):
        text: str

    class Greet(Handler):
        @operation(summary="Greet somebody", access=PUBLIC, response=Greeting)
        async def get(self, name: str) -> Greeting:
            return Greeting(text=f"Hello, {name}!")

    def test_greeting():
        with served(routes=[route("/greet/{name}", Greet)]) as server:
            assert server.client.get("/greet/Ada").json() == {"text": "Hello, Ada!"}
            assert server.errors == []

Without a configuration there are the default routes, one model ``echo`` that repeats the last message, no limits
of requests, and an empty SQLite store in a folder that is deleted at the end. A configuration is YAML text, with
or without ``extends``, or the path of a file, or Settings. The port is always a free one.
"""

from typing import TYPE_CHECKING, Any

from jan.testing.in_process import AsyncServer, Configuration, ThreadServer, model, route, serve, served

if TYPE_CHECKING:
    from jan.testing.backend_contract import BackendContract
    from jan.testing.engine_contract import EngineContract

__all__ = [
    "AsyncServer",
    "BackendContract",
    "Configuration",
    "EngineContract",
    "ThreadServer",
    "model",
    "route",
    "serve",
    "served",
]


def __getattr__(name: str) -> Any:
    # They need pytest, a server does not.
    if name == "EngineContract":
        from jan.testing.engine_contract import EngineContract

        return EngineContract
    if name == "BackendContract":
        from jan.testing.backend_contract import BackendContract

        return BackendContract
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")

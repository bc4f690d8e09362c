"""Servers in the process of their test: real ones, several at a time, that leave nothing behind."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
import structlog
from support.server import DEFAULT_CONFIG, ROOT

import jan.testing
from jan.errors import ConfigurationError
from jan.handler import Handler
from jan.operation import operation
from jan.schema.scopes import PUBLIC, READ
from jan.settings.load import load_settings
from jan.testing import route, serve, served

CHAT = {"model": "echo", "messages": [{"role": "user", "content": "one two three"}]}


class Told(msgspec.Struct):
    """The answer of an endpoint of these tests."""

    text: str


class Option(Handler):
    """An endpoint that answers with its option."""

    class Options(msgspec.Struct, forbid_unknown_fields=True):
        """Options of this endpoint."""

        text: str = "nothing"

    @operation(summary="Tell the option", access=READ, response=Told)
    async def get(self) -> Told:
        """Answer with the option."""
        return Told(self.route_options.text)


class Broken(Handler):
    """An endpoint that always fails."""

    @operation(summary="Fail", access=PUBLIC, response=Told)
    async def get(self) -> Told:
        """Fail with an unexpected error."""
        raise RuntimeError("broken on purpose")


def open_files() -> set[str]:
    """List the open files of this process, except for the one that lists them."""
    return {os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if _is_there(name)}


def _is_there(descriptor: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{descriptor}")


def test_the_example_of_the_docstring_runs() -> None:
    """It is a test as a plugin author would write one."""
    example = textwrap.dedent((jan.testing.__doc__ or "").split("::\n")[1].split("\nWithout")[0])
    namespace: dict[str, object] = {"__name__": "example"}
    exec(example, namespace)
    test = namespace["test_greeting"]
    assert callable(test)
    test()


def test_a_server_on_a_thread_serves() -> None:
    """A test that is not async gets a server with clients: without credentials, the administrator's, a user's."""
    with served(routes=[route("/option", Option, text="this")]) as server:
        assert server.client.get("/health").json()["status"] == "ok"
        assert server.admin.get("/api/v1/users").status_code == 200
        reader, writer = server.connect(server.add_user("read")), server.connect(server.add_user("write"))
        assert reader.get("/option").json() == {"text": "this"}
        assert writer.get("/option").status_code == 403
        assert server.client.get("/option").status_code == 401
        answer = server.client.post("/v1/chat/completions", json=CHAT).json()
        assert answer["choices"][0]["message"]["content"] == "one two three"
        assert server.run(server.application.services.users.page(limit=9)).items
        assert server.errors == []


def test_a_server_in_the_running_loop_serves() -> None:
    """An async test has the server in its own loop, and async clients."""

    async def scenario() -> None:
        async with serve() as server:
            answer = await server.client.post("/v1/chat/completions", json=CHAT)
            assert answer.json()["choices"][0]["message"]["content"] == "one two three"
            assert (await server.admin.get("/api/v1/users")).status_code == 200
            key = await server.add_user()
            assert (await server.connect(key).get("/v1/conversations")).status_code == 200
            assert server.errors == []

    asyncio.run(scenario())


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No task, thread, open file or folder outlives a server, even if an answer was under way when it ended. The
    log's configuration is as before."""

    async def scenario() -> None:
        tasks = asyncio.all_tasks()
        slow = "models: [{id: echo, engine: echo, options: {step_seconds: 0.05, repeat: 9999, context: 99999}}]"
        async with serve(f"{slow}\nserver: {{grace_seconds: 0}}") as server:
            async with server.client.stream(
                "POST", "/v1/chat/completions", json={**CHAT, "stream": True}
            ) as answer:
                await anext(answer.aiter_lines())
            await server.client.get("/health")
        assert asyncio.all_tasks() == tasks

    with served():
        pass
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    threads, files = set(threading.enumerate()), open_files()
    processors = structlog.get_config()["processors"]
    before = list(processors)
    asyncio.run(scenario())
    with served() as server:
        server.client.get("/health")
    # Threads and files of earlier tests may end meanwhile.
    assert set(threading.enumerate()) <= threads
    assert open_files() <= files
    assert list(tmp_path.iterdir()) == []
    assert processors == before


def test_several_servers_keep_to_themselves() -> None:
    """Each of several servers of one process has its own store, key and log."""
    with served(routes=[route("/broken", Broken)]) as broken, served() as other:
        assert broken.url != other.url
        assert broken.connect(other.admin_key).get("/api/v1/users").status_code == 401
        assert broken.client.get("/broken").json()["error"]["code"] == "internal_error"
        assert other.client.get("/broken").status_code == 404
        assert [record["event"] for record in broken.errors] == ["request failed"]
        assert "broken on purpose" in broken.errors[0]["exception"]
        assert other.errors == []


def test_what_threads_log_is_their_server_s(tmp_path: Path) -> None:
    """An engine's thread that dies, and a store that fails, are in the log of the server that they belong to."""
    dying = "models: [{id: echo, engine: echo, options: {die_word: three}}]"
    with served(dying) as engine, served(data=tmp_path) as store, served() as other:
        assert engine.client.post("/v1/chat/completions", json=CHAT).status_code == 503
        with closing(sqlite3.connect(tmp_path / "jan.db")) as connection:
            connection.execute("DROP TABLE conversations")
        assert store.admin.post("/v1/conversations", json={}).status_code == 503
        assert "engine thread died" in [record["event"] for record in engine.errors]
        assert {record["event"] for record in store.errors} == {"store failed"}
        assert other.errors == []


def test_the_log_hides_secrets() -> None:
    """Records are what the server's own log would say."""
    with served() as server:
        server.run(_log_a_key())
        assert [record["api_key"] for record in server.log if record["event"] == "told"] == ["[redacted]"]


async def _log_a_key() -> None:
    structlog.get_logger().info("told", api_key="jan_secret")


def test_a_configuration_may_be_text_file_or_settings(tmp_path: Path) -> None:
    """Text is read on top of the default configuration, or of what it extends; a file's data folder
    is not used."""
    assert _models("models: [{id: mine, engine: echo}]") == ["mine"]
    assert _models(f"extends: {DEFAULT_CONFIG}\nmodels: []") == []
    file = tmp_path / "my.yaml"
    file.write_text(
        f"extends: {DEFAULT_CONFIG}\ndata: {tmp_path}/data\nmodels: [{{id: '${{NAME}}', engine: echo}}]"
    )
    with served(file, environ={"NAME": "ours"}) as server:
        assert [model.id for model in server.application.models] == ["ours"]
    assert not (tmp_path / "data").exists()
    assert _models(load_settings(file, {"NAME": "theirs"})) == ["theirs"]


def _models(configuration: jan.testing.Configuration) -> list[str]:
    with served(configuration) as server:
        return [model.id for model in server.application.models]


def test_a_store_may_outlive_its_server(tmp_path: Path) -> None:
    """With a data folder of the test's own, the next server knows the users of the one before."""
    with served(data=tmp_path) as server:
        key = server.add_user()
    with served(data=tmp_path) as server:
        assert server.admin_key == ""
        assert server.connect(key).get("/v1/conversations").status_code == 200


def test_a_wrong_configuration_is_told(tmp_path: Path) -> None:
    """The error is the one that `jan check` prints; nothing is left behind by a server that does not start."""
    file = tmp_path / "no-folder"
    file.touch()
    threads = set(threading.enumerate())
    wrong = {
        "server: {prot: 1}": "Unknown key 'prot'",
        f"storage: {{url: 'sqlite:///{file}/jan.db'}}": "no-folder",
    }
    for text, words in wrong.items():
        with pytest.raises(ConfigurationError, match=words), served(text):
            pass
    assert set(threading.enumerate()) <= threads


def test_without_httpx_the_client_says_what_to_install() -> None:
    """Only the clients need it: the module is imported and a server runs without."""
    program = """
import sys
sys.modules["httpx"] = None
from jan.testing import served
with served() as server:
    try:
        server.client
    except ModuleNotFoundError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.stdout == "jan.testing's clients need httpx: pip install httpx.\n", done.stderr

"""The store goes away under a running server, or runs out of room, and comes back."""

import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.conversation import (
    CHAT,
    CONVERSATIONS,
    IMPATIENT,
    StoredServer,
    append,
    chat,
    messages_of,
    new_conversation,
)
from support.mongodb import SecantusServer
from support.patience import until

pytestmark = pytest.mark.slow

ROOM = 3 << 20


def refusal(response: httpx.Response) -> tuple[int, str]:
    """Status and code of a refusal that says when to come again."""
    assert int(response.headers["retry-after"]) > 0
    return response.status_code, response.json()["error"]["code"]


def ready(client: httpx.Client) -> bool:
    return client.get("/ready").status_code == 200


def goes_on_without_a_store(client: httpx.Client) -> None:
    """The process lives, known callers use the models, and what needs the store says so."""
    assert client.get("/health").status_code == 200
    assert client.get("/ready").status_code == 503
    hello = {"model": "echo", "messages": [{"role": "user", "content": "Hello!"}]}
    assert client.post(CHAT, json=hello).json()["choices"][0]["message"]["content"] == "Hello!"
    assert refusal(client.get(CONVERSATIONS)) == (503, "storage_unavailable")
    assert refusal(client.post(CONVERSATIONS, json={"title": "Lost?"})) == (503, "storage_unavailable")
    assert client.get("/api/v1/models/nobody").status_code == 404


@contextmanager
def stored(folder: Path, url: str | None = None) -> Iterator[tuple[StoredServer, httpx.Client]]:
    server = StoredServer(folder, url, environ=IMPATIENT)
    try:
        with server.client() as client:
            yield server, client
        assert server.process.stop() == 0
    finally:
        server.process.kill_if_running()


def test_mongodb_is_killed_and_comes_back(own_server: SecantusServer, tmp_path: Path) -> None:
    """Without its database the server goes on with what it can, and with everything once it is back: nothing
    acknowledged is lost, and nobody had to restart anything."""
    with stored(tmp_path / "server", own_server.url("jan_faults")) as (_, client):
        conversation = new_conversation(client, title="Kept")
        told = append(client, conversation, "before")["id"]
        own_server.stop(signal.SIGKILL)
        goes_on_without_a_store(client)
        own_server.start()
        assert until(lambda: ready(client))
        assert [message["id"] for message in messages_of(client, conversation)] == [told]
        assert chat(client, conversation, "and after").status_code == 200
        assert [m["content"] for m in messages_of(client, conversation)] == ["before", "and after", "and after"]
        assert [found["title"] for found in client.get(CONVERSATIONS).json()["data"]] == ["Kept"]


def test_the_file_is_moved_away_and_back(tmp_path: Path) -> None:
    """The same for SQLite whose file is moved away: no write goes where nobody would find it again."""
    with stored(tmp_path / "server") as (server, client):
        conversation = new_conversation(client)
        told = append(client, conversation, "before")["id"]
        files = sorted((server.folder / "data").glob("jan.db*"))
        away = tmp_path / "away"
        away.mkdir()
        for file in files:
            shutil.move(file, away)
        goes_on_without_a_store(client)
        for file in files:
            shutil.move(away / file.name, file)
        assert until(lambda: ready(client))
        assert [message["id"] for message in messages_of(client, conversation)] == [told]
        assert append(client, conversation, "after")["sequence"] == 2


class SmallDisk:
    """A file system of a few MiB, most of them taken by something else."""

    code = "storage_full"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={2 * ROOM}", "tmpfs", str(folder)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"can't mount a small file system here: {getattr(error, 'stderr', error)}")

    def fill(self, _server: StoredServer) -> None:
        (self.folder / "ballast").write_bytes(b"x" * ROOM)

    def make_room(self, _server: StoredServer) -> None:
        (self.folder / "ballast").unlink()

    def remove(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True, timeout=30)


class SmallFiles:
    """A file system whose files the server may not let grow further: what a limit or quota does."""

    code = "storage_unavailable"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def fill(self, server: StoredServer) -> None:
        largest = max(file.stat().st_size for file in self.folder.glob("jan.db*"))
        self._limit(server, largest + ROOM // 10)

    def make_room(self, server: StoredServer) -> None:
        self._limit(server, resource.RLIM_INFINITY)

    def _limit(self, server: StoredServer, size: int) -> None:
        _, hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size, hard))

    def remove(self) -> None:
        pass


@pytest.fixture(params=[SmallDisk, SmallFiles])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    disk: SmallDisk | SmallFiles = request.param(tmp_path / "disk")
    yield disk
    disk.remove()


def append_until_refused(client: httpx.Client, conversation: str, told: list[str]) -> httpx.Response:
    """Append and note what was acknowledged, until something is not."""
    for number in range(5000):
        body = {"role": "user", "content": f"{number} " + "x" * 5000}
        answer = client.post(f"{CONVERSATIONS}/{conversation}/messages", json=body)
        if answer.status_code != 200:
            return answer
        told.append(answer.json()["id"])
    raise AssertionError("the disk does not fill up")


def test_the_disk_is_full(disk: SmallDisk | SmallFiles, tmp_path: Path) -> None:
    """A full disk refuses writes, whole and in words, while reads and the models go on; with room again writes
    do too, and all that was ever acknowledged is there, after the server was killed as well."""
    told: list[str] = []
    with stored(tmp_path / "server", f"sqlite:///{disk.folder}/jan.db") as (server, client):
        conversation = new_conversation(client, title="Kept")
        disk.fill(server)
        assert refusal(append_until_refused(client, conversation, told)) == (503, disk.code)
        assert len(told) > 3
        assert [message["id"] for message in messages_of(client, conversation)] == told
        assert client.get(f"{CONVERSATIONS}/{conversation}").json()["message_count"] == len(told)
        assert refusal(chat(client, conversation, "y" * 50_000)) == (503, disk.code)
        hello = {"model": "echo", "messages": [{"role": "user", "content": "Hello!"}]}
        assert client.post(CHAT, json=hello).status_code == 200
        disk.make_room(server)
        told.append(append(client, conversation, "z" * 50_000)["id"])
        server.process.signal(signal.SIGKILL)
        server.process.wait()
        server.start()
        with server.client() as again:
            assert [message["id"] for message in messages_of(again, conversation)] == told


def test_an_export_that_breaks_off_does_not_look_whole(tmp_path: Path) -> None:
    """A store that goes away in the middle of an export cuts the connection, so that no client takes the part that
    it got for the conversation; the log's line tells of the error."""
    with stored(tmp_path / "server") as (server, client):
        conversation = new_conversation(client)
        for _ in range(36):  # more than one page of the store's, by their bytes
            append(client, conversation, "x" * 500_000)
        files = sorted((server.folder / "data").glob("jan.db*"))
        away = tmp_path / "away"
        away.mkdir()
        url = f"{CONVERSATIONS}/{conversation}/export"
        with client.stream("GET", url) as answer:
            assert answer.status_code == 200
            pieces = answer.iter_raw(65536)
            next(pieces)
            for file in files:
                shutil.move(file, away)
            with pytest.raises(httpx.RemoteProtocolError):
                list(pieces)
        for file in files:
            shutil.move(away / file.name, file)
        assert until(lambda: ready(client))
    [line] = [entry for entry in server.process.log if entry.get("route") == "conversations.export"]
    assert (line["status"], line["error"]) == (200, "storage_unavailable")

"""The wall clock under a running server jumps by an hour, forwards and back: libfaketime in its process."""

import asyncio
import glob
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.conversation import API, CONVERSATIONS, append, bearer, messages_of, new_conversation
from support.fake_oidc import Lab, attempt
from support.load import RawStream
from support.patience import until
from support.server import http_client

pytestmark = pytest.mark.slow

HOUR = 3600


# With its monotonic clock left alone, libfaketime 0.9.10 refuses the absolute form of clock_nanosleep, which is
# how Python sleeps; so the echo model's pause, in place of a model's work, waits in another way.
_SLEEP = """
import threading, time
time.sleep = lambda seconds: threading.Event().wait(seconds)
"""


class Clock:
    """The time that a process sees: the real time plus an offset in seconds."""

    def __init__(self, folder: Path) -> None:
        found = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
        if not found:
            stop = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
            stop("there is no libfaketime (Debian package libfaketime), which moves the clock")
        (folder / "sitecustomize.py").write_text(_SLEEP)
        self._file = folder / "clock"
        self.jump(0)
        #: Only the wall clock: a monotonic one does not jump.
        self.environ = {
            "PYTHONPATH": f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
            "LD_PRELOAD": found[0],
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def jump(self, seconds: int) -> None:
        """From now on the process is so far ahead of the real time."""
        self.offset = seconds
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}")
        new.replace(self._file)


@pytest.fixture(scope="module")
def moved_clock(tmp_path_factory: pytest.TempPathFactory) -> Clock:
    return Clock(tmp_path_factory.mktemp("clock"))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, moved_clock: Clock) -> Iterator[Lab]:
    """A server with sign-in whose clock can be moved: one for all, since it takes seconds to start."""
    environ = {**moved_clock.environ, "JAN__SIGN_IN__TIMEOUT_SECONDS": "10"}
    lab = Lab(tmp_path_factory.mktemp("lab"), environ=environ)
    yield lab
    lab.stop()


@pytest.fixture
def clock(moved_clock: Clock) -> Iterator[Clock]:
    """The server's clock, which is right again after each test."""
    yield moved_clock
    moved_clock.jump(0)


@pytest.fixture
def admin(lab: Lab) -> Iterator[httpx.Client]:
    with http_client(lab.server, headers=bearer(lab.server.admin_key)) as client:
        yield client


def server_time(client: httpx.Client) -> float:
    """Return the server's idea of the time."""
    return datetime.fromisoformat(client.get("/health").json()["timestamp"]).timestamp()


def sign_in(lab: Lab, clock: Clock) -> httpx.Response:
    """With a provider whose clock goes as the server's."""
    with attempt(lab) as begun:
        claims: dict[str, Any] = lab.provider.claims(begun.nonce)
        lab.provider.says({**claims, "iat": claims["iat"] + clock.offset, "exp": claims["exp"] + clock.offset})
        return begun.callback()


def token_of(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    token: str = answer.json()["access_token"]
    return token


def who(lab: Lab, token: str) -> tuple[int, str]:
    """Status of a request with a token, and the code of its refusal."""
    with http_client(lab.server, headers=bearer(token)) as client:
        answer = client.get(f"{API}/user/profile")
    return answer.status_code, answer.json().get("error", {}).get("code", "")


def refresh(lab: Lab, token: str) -> httpx.Response:
    with http_client(lab.server, headers=bearer(token)) as client:
        return client.post(f"{API}/auth/refresh")


@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
def test_keys_conversations_and_streams_do_not_mind(
    lab: Lab, clock: Clock, admin: httpx.Client, seconds: int
) -> None:
    """A key stays good, a stream under way goes on to its end, a conversation keeps its order, and nothing
    waits for the clock to come round."""
    earlier = {found["id"] for found in admin.get(CONVERSATIONS).json()["data"]}
    conversation = new_conversation(admin)
    append(admin, conversation, "before")
    before = server_time(admin)

    async def across_the_jump() -> bytes:
        stream = await RawStream.begin(lab.server.url, "slow", 100)
        await stream.event()
        clock.jump(seconds)
        return await stream.rest()

    assert b"data: [DONE]" in asyncio.run(across_the_jump())
    assert abs(server_time(admin) - before - seconds) < HOUR / 2  # it did jump
    append(admin, conversation, "after")
    other = new_conversation(admin)
    assert [message["content"] for message in messages_of(admin, conversation)] == ["before", "after"]
    listed = {found["id"] for found in admin.get(CONVERSATIONS).json()["data"]}
    assert listed - earlier == {conversation, other}
    assert admin.get("/ready").status_code == 200
    assert admin.get(f"{API}/status").json()["database"] == "healthy"


def test_a_session_lives_through_a_jump_forward(lab: Lab, clock: Clock) -> None:
    """An hour on, the token is over and is exchanged for another, as after an hour of no use."""
    token = token_of(sign_in(lab, clock))
    assert who(lab, token) == (200, "")
    clock.jump(HOUR + 60)
    # Those who were just seen are known for a second.
    assert until(lambda: who(lab, token) == (401, "token_expired"))
    assert who(lab, token_of(refresh(lab, token))) == (200, "")


def test_a_session_lives_through_a_jump_back(lab: Lab, clock: Clock) -> None:
    """An hour back, a token of what is now the future is refused and its session not ended: people sign in
    again meanwhile, and it is good once its time has come."""
    token = token_of(sign_in(lab, clock))
    clock.jump(-HOUR)
    assert until(lambda: who(lab, token) == (401, "invalid_token"))
    assert refresh(lab, token).status_code == 401
    assert who(lab, token_of(sign_in(lab, clock))) == (200, "")
    clock.jump(0)
    assert who(lab, token) == (200, "")


def test_signing_out_everywhere_shuts_nobody_out(lab: Lab, clock: Clock) -> None:
    """Who ended all sessions before the clock went back can sign in again at once, and what was ended stays
    so when the clock is right again."""
    token = token_of(sign_in(lab, clock))
    with http_client(lab.server, headers=bearer(token)) as client:
        assert client.post(f"{API}/auth/logout-everywhere").status_code == 200
    clock.jump(-HOUR)
    assert who(lab, token_of(sign_in(lab, clock))) == (200, "")
    clock.jump(0)
    assert who(lab, token) == (401, "session_ended")

"""The tests that the plugin's author runs, in the plugin's folder."""

import os
import sys
from pathlib import Path

from engines import Loop, Loud

import handlers
import jan
from jan.engine.base import Backend, Engine
from jan.testing import BackendContract, EngineContract, route, served

CONFIG = Path(__file__).with_name("my.yaml")
CHAT = {"model": "loud", "messages": [{"role": "user", "content": "one two"}]}


def test_jan_is_the_one_under_test() -> None:
    """From the checkout or from the wheel, whatever else is installed."""
    assert str(jan.__file__).startswith(os.environ["JAN_ROOT"])


def test_the_folder_is_served() -> None:
    """Endpoint, engines and hook of the folder, beside what is shipped."""
    with served(CONFIG, environ=os.environ) as server:
        client = server.client
        assert client.get("/greet/Ada").json() == {"text": "Ahoy, Ada!"}
        assert client.get("/health").json()["status"] == "ok"
        said = client.post("/v1/chat/completions", json=CHAT).json()
        assert said["choices"][0]["message"]["content"] == "ONE TWO!!"
        asked = {"model": "loop", "prompt": "one", "max_tokens": 5}
        text = client.post("/v1/completions", json=asked).json()["choices"][0]["text"]
        assert text == "please one please one please "
        refused = client.post("/v1/completions", json={**asked, "prompt": "a secret"})
        assert refused.json()["error"]["code"] == "guarded"
        assert client.post("/v1/completions", json={**asked, "prompt": "stumble"}).status_code == 200
    assert [record["event"] for record in server.errors] == ["hook failed"]
    assert sys.modules["handlers"] is handlers


def test_a_class_at_hand_is_served() -> None:
    """An imported class can be served without a configuration file."""
    with served(routes=[route("/greet/{name}", handlers.Greet)]) as server:
        assert server.client.get("/greet/Ada").json() == {"text": "Hello, Ada!"}
        assert server.errors == []


class TestLoud(BackendContract):
    """The backend keeps the contract."""

    def make(self) -> Backend:
        """With time for each step, so that requests meet."""
        return Loud(Loud.Options(slots=4, context=64, repeat=20, step_seconds=0.01))


class TestLoop(EngineContract):
    """The engine on the loop keeps the contract."""

    def make(self) -> Engine:
        """With the contract's context."""
        return Loop(Loop.Options(context=64))

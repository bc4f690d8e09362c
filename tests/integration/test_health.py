"""The smallest requests: health and version."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import httpx
import pytest
from support.server import EMBEDDER, MODEL, ServerProcess

from jan.testing import served


def test_health_is_as_the_reference_shows(echo: httpx.Client) -> None:
    """GET /health answers status ok and a UTC timestamp, and nothing else."""
    body = echo.get("/health").json()
    assert set(body) == {"status", "timestamp"}
    assert body["status"] == "ok"
    assert body["timestamp"].endswith("Z")
    assert datetime.fromisoformat(body["timestamp"])


def test_models_lists_ids_and_aliases(echo: httpx.Client) -> None:
    """GET /models gives each name a request may use, in the reference's shape."""
    body = echo.get("/api/v1/models").json()
    assert body["object"] == "list"
    assert [model["id"] for model in body["data"]] == ["echo", MODEL, "slow", EMBEDDER]
    assert {model["object"] for model in body["data"]} == {"model"}
    assert {model["owned_by"] for model in body["data"]} == {"jan"}
    assert [model.get("alias_of") for model in body["data"]] == [None, "echo", None, None]


def test_models_tell_what_they_can_do() -> None:
    """The context has the names that clients look for. What only a loaded model knows is left out until then."""
    models = "models: [{id: echo, aliases: [other], engine: echo, load: lazy, options: {context: 77}}]"
    with served(models) as server:
        before = server.client.get("/v1/models/other").json()
        server.client.post(
            "/v1/chat/completions", json={"model": "echo", "messages": [{"role": "user", "content": "hi"}]}
        )
        after = server.client.get("/v1/models/other").json()
        listed = server.client.get("/v1/models").json()["data"]
    created = before.pop("created")
    assert datetime.fromisoformat(before.pop("created_at")).timestamp() == created
    assert before == {
        "id": "other",
        "object": "model",
        "type": "model",
        "display_name": "other",
        "owned_by": "jan",
        "alias_of": "echo",
        "loaded": False,
        "engine": "echo",
        "modalities": {"input": ["text"], "output": ["text"]},
    }
    known = {"context_length": 77, "context_window": 77, "max_model_len": 77, "tools": "native"}
    assert after == {**after, **known, "loaded": True, "created": created, "reasoning": False}
    assert after["dialect"]
    assert listed[1] == after
    assert "alias_of" not in listed[0]


def test_a_model_that_loads_tells_how_far_it_is(tmp_path: Path) -> None:
    """The loaded part is there as long as the model loads, under each of its names."""
    gate = tmp_path / "gate"
    engine = "support.slow_loading.SlowLoadingBackend"
    models = f"models: [{{id: m, aliases: [other], engine: {engine}, load: lazy, options: {{gate: {gate}}}}}]"
    asked = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    with served(models) as server, ThreadPoolExecutor(1) as aside:
        assert "loading" not in server.client.get("/v1/models/m").json()
        answer = aside.submit(server.client.post, "/v1/chat/completions", json=asked)
        while (entry := server.client.get("/v1/models/m").json()).get("loading") != 0.25:
            assert not entry["loaded"]
        entry = server.client.get("/v1/models/other").json()
        assert (entry["loaded"], entry["loading"]) == (False, 0.25)
        gate.touch()
        assert answer.result().status_code == 200
        entry = server.client.get("/v1/models/m").json()
        assert entry["loaded"]
        assert "loading" not in entry
        assert "demo" not in entry


@pytest.mark.model
def test_the_bundled_model_says_that_it_is_a_demo(model_server: ServerProcess) -> None:
    """Clients can tell their users why its answers make little sense."""
    entries = httpx.get(f"{model_server.url}/v1/models").json()["data"]
    assert {entry["demo"] for entry in entries if entry["engine"] == "llamacpp"} == {True}

"""GET /status and GET /ready, and what goes on while the store is away."""

from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest
from support.patience import serving
from support.server import ServerProcess, http_client

from jan.errors import ConfigurationError
from jan.settings.load import load_settings

StartServer = Callable[[str], ServerProcess]


class _Refusing(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *_arguments: object) -> None:
        """Answer without a log line."""


@pytest.fixture
def neighbour() -> Iterator[str]:
    """Another HTTP server, standing for an external API: it answers every request with 404."""
    with serving(_Refusing) as url:
        yield url


def status_of(server: ServerProcess) -> dict[str, object]:
    with http_client(server, headers={"Authorization": f"Bearer {server.admin_key}"}) as client:
        answer: dict[str, object] = client.get("/api/v1/status").json()
        return answer


def test_status_is_as_the_reference_shows(echo_server: ServerProcess) -> None:
    """All parts of a good server are healthy; what is not configured says so."""
    assert status_of(echo_server) == {
        "api_gateway": "healthy",
        "inference_model": "healthy",
        "database": "healthy",
        "external_apis": {"serper": "not_configured"},
    }


@pytest.mark.model
def test_the_real_model_is_probed(model_server: ServerProcess) -> None:
    """The probe goes through the real model's thread."""
    assert status_of(model_server)["inference_model"] == "healthy"


def test_an_external_api_is_probed(start_server: StartServer, neighbour: str) -> None:
    """One that answers is healthy, even if it refuses; one that does not is unhealthy."""
    models = "models: [{id: echo, engine: echo}]"
    there = start_server(f"external: {{serper_url: '{neighbour}'}}\n{models}")
    assert status_of(there)["external_apis"] == {"serper": "healthy"}
    gone = start_server(f"external: {{serper_url: 'http://127.0.0.1:1'}}\ndata: other\n{models}")
    assert status_of(gone)["external_apis"] == {"serper": "unhealthy"}


def test_an_external_api_without_a_good_url_is_a_mistake(tmp_path: Path) -> None:
    """It is told at the start; the probe would say for ever that the service is away."""
    config = tmp_path / "jan.yaml"
    for url in ("google.serper.dev", "file:///etc/passwd", "https://user:secret@google.serper.dev"):
        config.write_text(f"external: {{serper_url: '{url}'}}")
        with pytest.raises(ConfigurationError, match=r"external.serper_url: Not a safe URL") as told:
            load_settings(config)
        assert "secret" not in str(told.value)


def test_a_good_server_is_ready(echo: httpx.Client) -> None:
    """GET /ready is 200."""
    assert echo.get("/ready").json() == {"status": "ready"}


def test_without_its_store_the_server_serves_what_needs_none(start_server: StartServer, tmp_path: Path) -> None:
    """The store goes away: not ready, 503 with Retry-After for what needs it, anonymous inference goes on,
    and so does a key that was used shortly before."""
    server = start_server("models: [{id: echo, engine: echo}]\nstorage: {timeout_seconds: 0.5}")
    body = {"model": "echo", "messages": [{"role": "user", "content": "still here"}]}
    key = {"Authorization": f"Bearer {server.admin_key}"}
    with http_client(server) as client:
        assert client.get("/api/v1/models", headers=key).status_code == 200
        for file in (tmp_path / "data").glob("jan.db*"):
            file.rename(file.with_name(f"away-{file.name}"))
        refused = client.get("/ready")
        assert refused.status_code == 503
        assert "store" in refused.json()["error"]["message"]
        assert int(refused.headers["retry-after"]) > 0
        assert client.get("/api/v1/user/profile", headers=key).status_code == 503
        assert client.get("/api/v1/models", headers={"Authorization": "Bearer jan_unseen"}).status_code == 503
        for headers in ({}, key):
            answer = client.post("/api/v1/chat/completions", json=body, headers=headers)
            assert answer.json()["choices"][0]["message"]["content"] == "still here"
        assert client.get("/health").status_code == 200
        assert client.get("/api/v1/status", headers=key).json()["database"] == "unhealthy"


def test_a_store_that_is_away_at_the_start_is_found_later(start_server: StartServer) -> None:
    """A server whose MongoDB does not answer starts, serves anonymous inference, and says it is not ready."""
    server = start_server(
        "models: [{id: echo, engine: echo}]\nstorage: {url: 'mongodb://127.0.0.1:1/jan', timeout_seconds: 0.3}"
    )
    body = {"model": "echo", "messages": [{"role": "user", "content": "hello"}]}
    with http_client(server) as client:
        assert client.post("/api/v1/chat/completions", json=body).status_code == 200
        assert client.get("/ready").status_code == 503
        refused = client.get("/api/v1/models", headers={"Authorization": "Bearer jan_x"})
        assert refused.status_code == 503
        assert "retry-after" in refused.headers
    assert server.stop() == 0

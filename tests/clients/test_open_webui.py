"""Open WebUI, from its package without PyTorch: its server in front of this one, asked as its page asks it."""

import contextlib
import hashlib
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from clients.environments import HERE, INSTALL_SECONDS
from support.patience import until
from support.ports import free_port
from support.server import ServerProcess, http_client

pytestmark = [pytest.mark.heavy, pytest.mark.sdk, pytest.mark.timeout(2 * INSTALL_SECONDS)]

PACKAGES = HERE / "open_webui.txt"
VERSION = "0.12.4"
TEXT = "Hello, dear server!"
MESSAGES = [{"role": "user", "content": TEXT}]
# What its command does.
SERVE = ("-c", "import open_webui; open_webui.app()", "serve", "--host", "127.0.0.1", "--port")
# Nothing is asked for outside of this machine, and nobody signs in.
ALONE = {
    "WEBUI_AUTH": "false",
    "OFFLINE_MODE": "true",
    "HF_HUB_OFFLINE": "1",
    "ENABLE_OLLAMA_API": "false",
    "ENABLE_VERSION_UPDATE_CHECK": "false",
    "ANONYMIZED_TELEMETRY": "false",
    "DO_NOT_TRACK": "true",
    "SCARF_NO_ANALYTICS": "true",
    "NO_PROXY": "127.0.0.1",
}


@pytest.fixture(scope="module")
def packages(install_once: Callable[..., Path]) -> Path:
    """The folder of its packages (1.3 GB)."""
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps")
    name = f"open-webui-{hashlib.sha256(PACKAGES.read_bytes()).hexdigest()[:12]}-{sys.implementation.cache_tag}"
    return install_once(name, *pip, "--target", ".", "-r", str(PACKAGES), seconds=INSTALL_SECONDS)


@pytest.fixture(scope="module")
def open_webui(
    packages: Path, clients_server: ServerProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """A client of Open WebUI, whose models, embeddings and reranking are this server's."""
    base, key, port = f"{clients_server.url}/v1", clients_server.admin_key, free_port()
    data = tmp_path_factory.mktemp("open-webui")
    environ = {
        **{name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "HOME")},
        **ALONE,
        "PYTHONPATH": str(packages),
        "DATA_DIR": str(data),
        "WEBUI_SECRET_KEY": secrets.token_hex(32),
        "OPENAI_API_BASE_URL": base,
        "OPENAI_API_KEY": key,
        "RAG_EMBEDDING_ENGINE": "openai",
        "RAG_EMBEDDING_MODEL": "embedder",
        "RAG_OPENAI_API_BASE_URL": base,
        "RAG_OPENAI_API_KEY": key,
        "ENABLE_RAG_HYBRID_SEARCH": "true",
        "RAG_RERANKING_ENGINE": "external",
        "RAG_RERANKING_MODEL": "embedder",
        "RAG_EXTERNAL_RERANKER_URL": f"{base}/rerank",
        "RAG_EXTERNAL_RERANKER_API_KEY": key,
    }
    with (data / "log").open("w") as log:
        command = (sys.executable, "-S", *SERVE, str(port))
        process = subprocess.Popen(command, cwd=data, env=environ, stdout=log, stderr=subprocess.STDOUT)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False) as client:
                assert until(lambda: process.poll() is not None or _healthy(client), INSTALL_SECONDS)
                assert process.poll() is None, (data / "log").read_text()[-3000:]
                signed_in = client.post("/api/v1/auths/signin", json={"email": "", "password": ""})
                client.headers["authorization"] = f"Bearer {signed_in.json()['token']}"
                yield client
        finally:
            process.terminate()
            process.wait()


def _healthy(client: httpx.Client) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return client.get("/health").status_code == 200
    return False


def _asked(client: httpx.Client, path: str, **body: Any) -> Any:
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_open_webui_shows_the_models_and_chats(
    open_webui: httpx.Client, record_property: Callable[[str, object], None]
) -> None:
    """It lists the models, and passes an answer on, whole and streamed; its tasks are answered too."""
    models = [model["id"] for model in open_webui.get("/api/models").json()["data"]]
    assert {"scripted", "jan-v1-4b"} <= set(models)
    asked = {"model": "scripted", "messages": MESSAGES}
    whole = _asked(open_webui, "/api/chat/completions", **asked, stream=False)
    assert whole["choices"][0]["message"]["content"] == TEXT
    streamed = open_webui.post("/api/chat/completions", json={**asked, "stream": True}).text
    assert (streamed.count('"content":"'), "data: [DONE]" in streamed) == (4, True)
    for task in ("title", "tags", "follow_up", "queries", "emoji"):
        made = _asked(open_webui, f"/api/v1/tasks/{task}/completions", **asked, prompt=TEXT, type="retrieval")
        assert made["choices"][0]["message"]["content"]
    record_property("printed", f"| open-webui | {VERSION} | chat, stream |")


def test_open_webui_speaks_responses(
    open_webui: httpx.Client, clients_server: ServerProcess, record_property: Callable[[str, object], None]
) -> None:
    """It passes a response on, and makes chats of responses where its settings say so."""
    passed = _asked(open_webui, "/openai/responses", model="scripted", input=TEXT)
    assert passed["output"][0]["content"][0]["text"] == TEXT
    settings = {
        "ENABLE_OPENAI_API": True,
        "OPENAI_API_BASE_URLS": [f"{clients_server.url}/v1"],
        "OPENAI_API_KEYS": [clients_server.admin_key],
    }
    _asked(open_webui, "/openai/config/update", **settings, OPENAI_API_CONFIGS={"0": {"api_type": "responses"}})
    asked = {"model": "scripted", "messages": MESSAGES}
    whole = _asked(open_webui, "/api/chat/completions", **asked, stream=False)
    assert whole["choices"][0]["message"]["content"] == TEXT
    streamed = open_webui.post("/api/chat/completions", json={**asked, "stream": True}).text
    assert "response.completed" in streamed
    _asked(open_webui, "/openai/config/update", **settings, OPENAI_API_CONFIGS={})
    record_property("printed", f"| open-webui | {VERSION} | responses, responses_stream |")


def test_open_webui_finds_documents(
    open_webui: httpx.Client, clients_server: ServerProcess, record_property: Callable[[str, object], None]
) -> None:
    """It embeds documents, finds them by a question, and ranks what it found."""
    documents = ("A cat sits on the mat.", "The train leaves at nine.", "Rain falls in the mountains.")
    names = []
    for number, text in enumerate(documents):
        made = _asked(open_webui, "/api/v1/retrieval/process/text", name=str(number), content=text)
        names.append(made["collection_name"])
    query = {"collection_names": names, "query": "When does it depart?", "k": 3, "hybrid": True}
    found = _asked(open_webui, "/api/v1/retrieval/query/collection", **query, k_reranker=3)
    assert found["documents"][0][0] == documents[1]
    with http_client(clients_server) as client:
        assert 'route="rerank",status="200"' in client.get("/metrics").text
    record_property("printed", f"| open-webui | {VERSION} | embeddings |")

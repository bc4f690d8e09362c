"""A real server for the clients: a scripted model, one that repeats, the bundled one, and one that embeds."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.server import DEFAULT_CONFIG, ServerProcess

HERE = Path(__file__).parent
CONFIG = f"""
extends: {DEFAULT_CONFIG}
log: {{format: json}}
server: {{grace_seconds: 5}}
hooks: [scripted.Scripted]
models:
  - id: scripted
    engine: echo
    options: {{tool_format: hermes, reasoning: auto, context: 200000}}
  - id: spoken
    engine: echo
    options: {{tool_format: hermes, reasoning: auto, context: 200000}}
  - id: jan-v1-4b
    engine: llamacpp
    options: {{model: bundled, context: 2048, slots: 4}}
  - id: embedder
    engine: llamacpp
    options: {{model: MINILM, context: 512}}
"""


@pytest.fixture(scope="session")
def clients_server(tmp_path_factory: pytest.TempPathFactory, minilm: Path) -> Iterator[ServerProcess]:
    """A server with the models. Its log must stay free of errors."""
    folder = tmp_path_factory.mktemp("clients")
    shutil.copy(HERE / "scripted.py", folder)
    config = folder / "jan.yaml"
    config.write_text(CONFIG.replace("MINILM", str(minilm)))
    server = ServerProcess(config)
    yield server
    assert server.stop() == 0
    assert server.errors() == []

"""What ``jan pull`` fetched is of one commit, and is what is loaded later."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("cyllama")
pytestmark = [pytest.mark.slow, pytest.mark.model]

from support.fake_hub import COMMIT, FakeHub  # noqa: E402
from support.tiny_gguf import write_tiny_gguf  # noqa: E402

from jan.engine.model_trials.pulled_files import RECORD, accepted, check_pulled  # noqa: E402
from jan.errors import ConfigurationError  # noqa: E402
from jan.testing import served  # noqa: E402

TEMPLATE = "{{ messages[0].content }}"
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_tiny_gguf(tmp_path_factory.mktemp("gguf") / "m.gguf", {"default": TEMPLATE}).read_bytes()


@pytest.fixture(scope="module")
def pulled(weights: bytes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder as ``jan pull`` leaves it: a model file and two more."""
    hub = FakeHub({"ada/tiny": {"m.gguf": weights, "config.json": b"{}", "sub/more.gguf": weights}})
    folder = tmp_path_factory.mktemp("pulled")
    home = {"HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "hf"), "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-m", "jan", "pull", "ada/tiny", "*", "--folder", str(folder)]
    done = subprocess.run(command, env={**os.environ, **home}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert f"ada/tiny at commit {COMMIT[:12]}: 3 files" in done.stdout
    yield folder / "ada--tiny"
    hub.close()


@pytest.fixture
def copied(pulled: Path, tmp_path: Path) -> Path:
    """The same at another place, so that every file has other times than the record says."""
    return Path(shutil.copytree(pulled, tmp_path / "models"))


def seen(folder: Path) -> dict[str, list[int]]:
    return {name: file["seen"] for name, file in json.loads((folder / RECORD).read_text())["files"].items()}


def test_the_record_names_commit_and_hash_of_each_file(pulled: Path, weights: bytes) -> None:
    record = json.loads((pulled / RECORD).read_text())
    assert record["repo"] == "ada/tiny"
    assert {name: file["commit"] for name, file in record["files"].items()} == dict.fromkeys(
        ("m.gguf", "config.json", "sub/more.gguf"), COMMIT
    )


def test_a_moved_model_is_read_once_and_then_known(copied: Path) -> None:
    before = seen(copied)
    check_pulled([copied / "m.gguf"])
    after = seen(copied)
    assert after["m.gguf"] != before["m.gguf"]
    assert after["config.json"] == before["config.json"], "the others were not asked for"
    check_pulled([copied])
    assert all(seen(copied)[name] != before[name] for name in before)


@pytest.mark.parametrize("name", ["m.gguf", "sub/more.gguf"])
def test_a_changed_file_is_refused_until_it_is_accepted(copied: Path, name: str) -> None:
    file = copied / name
    times = file.stat()
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(ConfigurationError) as refused:
        check_pulled([file])
    assert (
        f"Model file {file} is not the one that was pulled from ada/tiny: It has changed" in refused.value.message
    )
    assert refused.value.message.endswith(f"(jan models --accept {file}).")
    assert accepted(file) == 1
    check_pulled([file, copied])


@pytest.mark.parametrize("added", ["chat_template.jinja", "model-2.safetensors", "tokenizer.json"])
def test_a_file_that_was_added_to_a_folder_is_refused(copied: Path, added: str) -> None:
    (copied / added).write_text("{}")
    with pytest.raises(ConfigurationError, match="was not pulled with it"):
        check_pulled([copied])
    check_pulled([copied / "m.gguf"])
    assert accepted(copied) == 1
    check_pulled([copied])


def test_a_broken_record_is_said(copied: Path) -> None:
    (copied / RECORD).write_text("{")
    with pytest.raises(ConfigurationError, match="can't be read, so nothing says"):
        check_pulled([copied])


def test_what_was_not_pulled_is_not_checked(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    check_pulled([tmp_path / "m.gguf", tmp_path])
    with pytest.raises(ConfigurationError, match="was not pulled"):
        accepted(tmp_path / "m.gguf")


def test_a_server_does_not_load_a_changed_file(copied: Path) -> None:
    """A request for it is 503, and the log says how to accept it."""
    file = copied / "m.gguf"
    models = [{"id": "m", "engine": "llamacpp", "load": "lazy", "options": {"model": str(file), "context": 64}}]
    asked = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
    with served(f"models: {json.dumps(models)}") as server:
        file.write_bytes(file.read_bytes()[:-1] + b"x")
        assert server.client.post("/v1/chat/completions", json=asked).status_code == 503
        assert "jan models --accept" in server.errors[0]["reason"]
        accepted(file)
        assert server.client.post("/v1/chat/completions", json=asked).status_code == 200

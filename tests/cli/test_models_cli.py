"""``jan pull`` against a server that speaks the Hub's protocol, with the Hub's own library; ``jan models``."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.fake_hub import FakeHub

from jan.catalog.model_files import ModelFiles, find_models, inspect_folder

pytestmark = pytest.mark.slow

WEIGHTS = os.urandom(300_000)
LLAMA = {
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "hidden_size": 2048,
    "max_position_embeddings": 131072,
}
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def config(**changes: object) -> bytes:
    return json.dumps({**LLAMA, **changes}).encode()


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    """A hub with one model in folders' form, one in GGUF, one gated."""
    hub = FakeHub(
        {
            "ada/tiny-exl2": {
                "config.json": config(quantization_config={"quant_method": "exl2", "bits": 4.0}),
                "model.safetensors": WEIGHTS,
                "pytorch_model.bin": b"the same again",
                "README.md": b"# tiny",
            },
            "ada/tiny-gguf": {"tiny-Q4_K_M.gguf": b"GGUF" + WEIGHTS, "tiny-Q8_0.gguf": b"GGUF" + WEIGHTS * 2},
            "ada/words": {"README.md": b"no weights"},
        },
        gated=("ada/gated",),
    )
    yield hub
    hub.close()


@pytest.fixture
def jan(hub: FakeHub, tmp_path: Path) -> Run:
    """Runs ``jan`` with the hub in place of the real one."""

    def run(*arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        home = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
        return subprocess.run(
            [sys.executable, "-m", "jan", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", os.getcwd()), **home, **environ},
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


def test_pull_fetches_what_an_engine_needs_and_says_how_to_serve_it(jan: Run, tmp_path: Path) -> None:
    """Weights in another form stay behind; the YAML to add is printed; the folder is the data folder's."""
    done = jan("pull", "ada/tiny-exl2")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "data" / "models" / "ada--tiny-exl2"
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert (folder / "config.json").exists()
    assert not (folder / "pytorch_model.bin").exists()
    assert f"engine: exllamav2, options: {{model: {folder}}}" in done.stdout


def test_a_pull_that_broke_off_goes_on_where_it_ended(hub: FakeHub, jan: Run, tmp_path: Path) -> None:
    """The library asks again only for what is missing, and the file is whole in the end."""
    # It writes, and goes on from, whole chunks of 10 MiB.
    hub.repos["ada/tiny-exl2"]["model.safetensors"] = whole = WEIGHTS * 80
    hub.cut_after = 15_000_000
    done = jan("pull", "ada/tiny-exl2", "model.safetensors", "config.json")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "data/models/ada--tiny-exl2/model.safetensors").read_bytes() == whole
    assert hub.ranges == ["bytes=10485760-"]


def test_of_several_gguf_files_one_is_to_be_named(jan: Run, tmp_path: Path) -> None:
    """Without a name the choice is shown with sizes; with a pattern just that file comes."""
    refused = jan("pull", "ada/tiny-gguf")
    assert refused.returncode == 1
    assert "tiny-Q4_K_M.gguf  0.3 MiB" in refused.stderr
    done = jan("pull", "ada/tiny-gguf", "*Q4_K_M.gguf", "--folder", "here")
    assert done.returncode == 0, done.stderr
    assert [file.name for file in (tmp_path / "here/ada--tiny-gguf").glob("*.gguf")] == ["tiny-Q4_K_M.gguf"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ada/nothing"], "The Hub has no model 'ada/nothing'"),
        (["ada/secret"], "set HF_TOKEN"),
        (["ada/gated"], "is gated. Accept its terms"),
        (["no name at all"], "allowed: owner/name"),
        (["ada/words"], "no .safetensors and no .gguf"),
        (["ada/tiny-exl2", "*.nothing"], "has no file '*.nothing'; available: config.json"),
        (["ada/tiny-exl2", "--revision", "nope"], "no such revision"),
    ],
)
def test_what_can_t_be_pulled_is_said_in_one_line(jan: Run, arguments: list[str], words: str) -> None:
    """Every refusal is one line on stderr and exit code 1."""
    done = jan("pull", *arguments)
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stderr.startswith("jan: ")
    assert "Traceback" not in done.stderr


def test_a_hub_that_is_away_is_one_line(jan: Run) -> None:
    """No connection: said so, and that the command can be repeated."""
    done = jan("pull", "ada/tiny-exl2", HF_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode == 1
    assert "could not be fetched" in done.stderr
    assert "Traceback" not in done.stderr


def test_models_lists_kind_engine_and_fit(jan: Run, tmp_path: Path) -> None:
    """One line a model; the bundled GGUF is read by llama.cpp's own reader."""
    from jan.engine.backends.llamacpp.gguf_files import resolve_model_file

    folder = tmp_path / "data" / "models"
    (folder / "exl").mkdir(parents=True)
    (folder / "exl" / "config.json").write_bytes(config(quantization_config={"quant_method": "exl2"}))
    (folder / "exl" / "model.safetensors").write_bytes(b"0")
    (folder / "small.gguf").symlink_to(resolve_model_file("bundled"))
    (folder / "broken.gguf").write_bytes(b"nothing of the kind")
    lines = jan("models").stdout.splitlines()
    assert [line.split("  ")[1:3] for line in lines] == [
        ["unknown", "no engine"],
        ["exl2", "exllamav2"],
        ["gguf", "llamacpp"],
    ]
    assert "8,192 tokens of context, the model's maximum" in lines[2]


def test_models_of_an_empty_folder(jan: Run) -> None:
    """Nothing there is said, with what to do."""
    done = jan("models")
    assert done.returncode == 0
    assert "jan pull owner/name" in done.stdout


def test_what_fits_is_weights_and_cache(tmp_path: Path) -> None:
    """Context is what remains beside weights and overhead, by the bytes that one token's keys and values take."""
    (tmp_path / "config.json").write_bytes(config())
    (tmp_path / "model.safetensors").write_bytes(b"0" * 1000)
    model = inspect_folder(tmp_path)
    assert model.token_bytes == 2 * 16 * 8 * 64 * 2
    assert model.kind == "safetensors"
    assert model.context_in(model.least_memory + 10 * model.token_bytes) == 10
    assert model.context_in(model.least_memory - 1) == 0
    assert model.context_in(2**60) == 131072


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"quantization_config": "exl2"}', b"\xff"])
def test_any_config_can_be_listed(tmp_path: Path, text: bytes) -> None:
    """A folder of anybody's making never ends the listing."""
    (tmp_path / "config.json").write_bytes(text)
    (tmp_path / "model.safetensors").write_bytes(b"0")
    assert [type(model) for model in find_models(tmp_path)] == [ModelFiles]

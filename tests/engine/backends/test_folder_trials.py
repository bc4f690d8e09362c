"""Wrong model folders are refused in the process that tries them, without a GPU and its library."""

import json
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tokenizers")
pytestmark = pytest.mark.torch

from jan.engine.model_trials.model_trial import ModelTrial  # noqa: E402
from jan.engine.model_trials.tried_models import ModelTrials  # noqa: E402
from jan.errors import ConfigurationError  # noqa: E402

ENDLESS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"


class Tried:
    """A backend for a folder, of which only the trial is asked for."""

    def __init__(self, folder: Path) -> None:
        formats = {"methods": ["exl2"], "described": "EXL2", "rope_parameters": True}
        self.plan = ModelTrial(
            call="jan.engine.backends.exllama.common.read_folder:read_first",
            arguments={"model": str(folder), **formats, "tool_format": "auto", "reasoning": "auto"},
            named=f"Model folder {folder}",
            files=(str(folder),),
        )

    def trial(self) -> ModelTrial:
        return self.plan


@pytest.fixture(scope="module")
def trials() -> Iterator[ModelTrials]:
    made = ModelTrials()
    yield made
    made.rest()


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_folder, tmp_path / "model"))


def with_tensor(folder: Path, **entries: Any) -> None:
    """Change the first tensor's entry in the header of the weights."""
    file = folder / "model.safetensors"
    data = file.read_bytes()
    length = struct.unpack_from("<Q", data)[0]
    header = json.loads(data[8 : 8 + length])
    name = next(name for name in header if name != "__metadata__")
    header[name].update(entries)
    new = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(new)) + new + data[8 + length :])


def refusal(trials: ModelTrials, folder: Path) -> str:
    with pytest.raises(ConfigurationError) as refused:
        trials.admit(Tried(folder))
    assert str(folder) in refused.value.message or "template" in refused.value.message
    return refused.value.message


def test_a_right_folder_is_admitted(trials: ModelTrials, tiny_folder: Path) -> None:
    trials.admit(Tried(tiny_folder))


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"data_offsets": [0, 1 << 60]}, "data_offsets 0, 1152921504606846976 that are not in the file"),
        ({"data_offsets": [8, 0]}, "data_offsets 8, 0 that are not in the file"),
        ({"shape": [1 << 40, 1 << 40]}, "a shape [1099511627776, 1099511627776] that does not fit its data"),
        ({"shape": [-1]}, "a shape [-1] that does not fit its data"),
        ({"shape": "x"}, "model.safetensors that is no safetensors file"),
    ],
    ids=str,
)
def test_a_tensor_that_is_not_in_its_file(
    trials: ModelTrials, folder: Path, entries: dict[str, Any], words: str
) -> None:
    with_tensor(folder, **entries)
    assert words in refusal(trials, folder)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("model.safetensors", struct.pack("<Q", 1 << 50), "is no safetensors file"),
        ("tokenizer.json", b"{" * 100_000, "tokenizer.json can't be read"),
        ("generation_config.json", b"[" * 100_000, "generation_config.json that is not JSON"),
        ("generation_config.json", b" " * (17 << 20), "of more than 16 MiB"),
        ("chat_template.jinja", ENDLESS.encode(), "uses too much for 1 short messages"),
        ("chat_template.jinja", b"{{ 'a' * (6 * 10**9) }}", "would take too much memory"),
    ],
    ids=lambda value: None if isinstance(value, bytes) else str(value),
)
def test_a_file_of_a_folder_that_is_wrong(
    trials: ModelTrials, folder: Path, name: str, content: bytes, words: str
) -> None:
    (folder / name).write_bytes(content)
    assert words in refusal(trials, folder)


@pytest.mark.parametrize("entry", ["num_hidden_layers", "num_attention_heads", "hidden_size", "vocab_size"])
@pytest.mark.parametrize("value", [0, -1, 1 << 40])
def test_a_shape_that_no_model_has(trials: ModelTrials, folder: Path, entry: str, value: int) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), entry: value}))
    assert f"$.{entry}" in refusal(trials, folder)

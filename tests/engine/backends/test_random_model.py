"""The models of random weights that ``tools/gpu-check`` makes."""

import json
import math
import tracemalloc
from pathlib import Path
from typing import Any, cast

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("jan.engine.backends.exllama.v2", reason="ExLlamaV2 is not installed", exc_type=ImportError)
pytest.importorskip("safetensors", reason="the safetensors library is not installed")

from safetensors import safe_open
from support.server import ROOT

from jan.engine.backends.exllama.common.folder import ModelFolder
from jan.engine.backends.exllama.v2 import ExLlamaV2Backend, ExLlamaV2Options
from jan.engine.base import Delta, Finished, Sampling


@pytest.fixture
def random_model(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import random_model

    return random_model


def shapes_of(folder: Path) -> dict[str, tuple[list[int], str]]:
    """Return the shapes that the safetensors library reads from every file."""
    found = {}
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "numpy") as opened:
            for name in opened.keys():  # noqa: SIM118 - it is no dictionary
                part = opened.get_slice(name)
                found[name] = (part.get_shape(), part.get_dtype())
    return found


def tokenizer_into(folder: Path) -> None:
    from support.folder_models import Gguf, write_tokenizer

    write_tokenizer(folder, Gguf())


@pytest.mark.torch
@pytest.mark.model
def test_what_is_written_is_a_model_that_answers(random_model: Any, tmp_path: Path) -> None:
    """The library loads the model from several files and computes with it."""
    random_model.write_random(tmp_path, random_model.SHAPES["tiny"], shard_bytes=2**20)
    tokenizer_into(tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"]) == set(shapes_of(tmp_path))
    from support.engine import text_request
    from support.exllamav2_cpu import any_device

    options = ExLlamaV2Options(model=str(tmp_path), slots=1, context=256, chunk=256)
    backend = ExLlamaV2Backend(options, any_device())
    backend.load(lambda part: None)
    ends = dict.fromkeys(backend._tokenizer.stop_tokens, -100.0)
    backend.begin(1, backend.prepare(text_request("Hi", max_tokens=3, sampling=Sampling(logit_bias=ends))))
    outputs = [output for _ in range(6) for _, output in backend.step()]
    assert isinstance(outputs[-1], Finished)
    assert outputs[-1].completion_tokens == 3
    assert all(isinstance(output, Delta) for output in outputs[:-1])
    backend.close()


def test_four_bit_weights_have_the_form_of_gptq(random_model: Any, tmp_path: Path) -> None:
    """The folder says GPTQ, and has the size of four-bit weights."""
    random_model.write_random(tmp_path, random_model.SHAPES["tiny"], "gptq")
    (tmp_path / "tokenizer.json").touch()
    ModelFolder(str(tmp_path), ExLlamaV2Backend.formats)
    found = shapes_of(tmp_path)
    assert found["model.layers.1.mlp.down_proj.qweight"] == ([256 // 8, 128], "I32")
    assert found["model.layers.1.mlp.down_proj.qzeros"] == ([256 // 128, 128 // 8], "I32")
    assert found["model.layers.1.mlp.down_proj.scales"] == ([256 // 128, 128], "F16")
    assert found["model.layers.1.mlp.down_proj.g_idx"] == ([256], "I32")
    with safe_open(next(tmp_path.glob("*.safetensors")), "numpy") as opened:
        groups = opened.get_tensor("model.layers.1.mlp.down_proj.g_idx")
    assert groups.tolist() == [0] * 128 + [1] * 128


@pytest.mark.parametrize(("shape", "numbers"), [("8b", 8_030_261_248), ("1b", 1_235_814_400)])
def test_the_shapes_are_llamas(random_model: Any, shape: str, numbers: int) -> None:
    """The shapes have as many parameters as the real models."""
    tensors = list(random_model._tensors(random_model.SHAPES[shape], "fp16", 128))
    assert sum(math.prod(tensor.shape) for tensor in tensors) == numbers
    assert len({tensor.name for tensor in tensors}) == len(tensors)


def test_it_takes_little_memory_and_repeats_nothing(random_model: Any, tmp_path: Path) -> None:
    """No tensor is in memory as a whole, and the same seed gives the same file."""
    wide = {**random_model.SHAPES["tiny"], "hidden_size": 1024, "num_hidden_layers": 1}
    folders = [tmp_path / name for name in ("one", "other")]
    peaks = []
    for folder in folders:
        folder.mkdir()
        tracemalloc.start()
        random_model.write_random(folder, wide)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    one, other = (next(folder.glob("*.safetensors")) for folder in folders)
    assert one.stat().st_size > 90 * 2**20
    assert max(peaks) < 40 * 2**20
    assert one.read_bytes() == other.read_bytes()
    with safe_open(one, "numpy") as opened:
        names = ("self_attn.k_proj", "self_attn.v_proj")
        keys, values = (cast(Any, opened.get_tensor(f"model.layers.0.{name}.weight")) for name in names)
    assert (keys != values).any()
    assert 0.015 < float(keys.astype("float32").std()) < 0.025

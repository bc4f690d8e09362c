"""Wrong folders and options are refused before anything is loaded."""

import json
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.server import DEFAULT_CONFIG

pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("jan.engine.backends.exllama.v2", reason="ExLlamaV2 is not installed", exc_type=ImportError)
pytestmark = pytest.mark.torch

import torch  # noqa: E402
from support.exllamav2_cpu import any_device  # noqa: E402

from jan.cli.commands import main  # noqa: E402
from jan.engine.backends.exllama.v2 import ExLlamaV2Backend, ExLlamaV2Options  # noqa: E402
from jan.engine.backends.exllama.v2.device import CudaDevice  # noqa: E402
from jan.engine.backends.exllama.v2.options import LoraOptions  # noqa: E402
from jan.errors import ConfigurationError  # noqa: E402


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """Return a copy of the model folder that a test may damage."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "model"))


def complaint(model: Path, memory: int = 4 * 2**30, **options: Any) -> str:
    """Return the error message of loading the folder."""
    chosen = ExLlamaV2Options(model=str(model), **options)
    with pytest.raises(ConfigurationError) as refused:
        ExLlamaV2Backend(chosen, any_device(memory)).load(lambda part: None)
    assert "\n" not in refused.value.message
    return refused.value.message


def change(folder: Path, **entries: Any) -> Path:
    """Change entries in the config.json of the folder."""
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **entries}))
    return folder


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_what_a_folder_must_have(folder: Path, name: str) -> None:
    """The message names the missing file."""
    (folder / name).unlink()
    assert f"has no {name}" in complaint(folder)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """The message names the path as it was given."""
    assert complaint(tmp_path / "nowhere") == f"Model folder {tmp_path / 'nowhere'} does not exist."


def test_a_folder_without_weights(folder: Path) -> None:
    """This engine takes no folder of GGUF or pickled weights."""
    (folder / "model.safetensors").rename(folder / "model.gguf")
    assert "has no .safetensors files" in complaint(folder)


def test_a_format_that_the_engine_does_not_take(folder: Path) -> None:
    """The message names the format, and the formats that the engine takes."""
    told = complaint(change(folder, quantization_config={"quant_method": "awq"}))
    assert "quantised as 'awq'" in told
    assert "EXL2, GPTQ" in told


def test_a_config_that_would_be_misread(folder: Path) -> None:
    """transformers 5 writes rope_theta where the library does not look. It would silently use a default."""
    config = json.loads((folder / "config.json").read_text())
    theta = config.pop("rope_theta")
    (folder / "config.json").write_text(json.dumps({**config, "rope_parameters": {"rope_theta": theta}}))
    assert "Copy rope_theta" in complaint(folder)


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_config_that_is_no_json_object(folder: Path, content: str) -> None:
    """The message names the wrong file."""
    (folder / "config.json").write_text(content)
    assert "config.json that is not" in complaint(folder)


@pytest.mark.parametrize(
    "entry",
    [
        {"quantization_config": "exl2"},
        {"architectures": 3},
        {"text_config": "x"},
        {"num_hidden_layers": "2"},
        {"vocab_size": -5},
        {"max_position_embeddings": "x"},
    ],
)
def test_an_entry_of_the_config_that_is_no_such_thing(folder: Path, entry: dict[str, Any]) -> None:
    """The message names the wrong entry."""
    [name] = entry
    told = complaint(change(folder, **entry), context=256)
    assert "config.json with a wrong entry" in told
    assert f"$.{name}" in told


def test_a_shape_that_is_not_told(folder: Path) -> None:
    """An entry that is null counts as missing, and loading fails where it is needed."""
    assert "can't be loaded" in complaint(change(folder, num_hidden_layers=None), slots=1, context=256)


@pytest.mark.parametrize("header", [b"[]", b'{"model.embed_tokens.weight": "x"}', b'{"a'])
def test_weights_that_are_no_safetensors(folder: Path, header: bytes) -> None:
    """The message names the wrong file."""
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    assert "model.safetensors that is no safetensors file" in complaint(
        change(folder, tie_word_embeddings=False), slots=1, context=256
    )


@pytest.mark.parametrize("template", ["{% if %}", 3, {"a": 1}, ["x"], [{"name": "default"}]])
def test_a_chat_template_that_is_none(folder: Path, template: Any) -> None:
    """The message says that the chat template is wrong."""
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "chat_template": template}))
    told = complaint(folder, slots=1, context=256)
    assert "chat template" in told
    assert "can't be read" in told


def test_a_folder_that_was_mended_can_be_loaded(folder: Path) -> None:
    """Weights of another model are refused. After they are replaced, the folder loads in the same process."""
    file = folder / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(b"\2\0\0\0\0\0\0\0{}")
    assert "can't be loaded" in complaint(folder, slots=1, context=256)
    file.write_bytes(whole)
    chosen = ExLlamaV2Options(model=str(folder), slots=1, context=256)
    backend = ExLlamaV2Backend(chosen, any_device())
    backend.load(lambda part: None)
    backend.close()


def test_a_spoilt_tokenizer(folder: Path) -> None:
    """The message names the wrong file."""
    (folder / "tokenizer.json").write_text("{}")
    assert "tokenizer.json can't be read" in complaint(folder, context=256)


def test_weights_that_do_not_fit_the_config(folder: Path) -> None:
    """A failed assertion of the library becomes a message of one line."""
    assert "can't be loaded" in complaint(change(folder, num_hidden_layers=3), slots=2, context=256)


def test_a_model_that_does_not_fit_says_what_it_needs_and_what_there_is(folder: Path) -> None:
    """The message names weights, cache and free memory in GiB, and the options that make it smaller."""
    told = complaint(folder, memory=2**27, slots=256, context=2048, chunk=2048)
    # 2 (keys, values) x 2 layers x 2 heads x 32 numbers x 2 bytes x 256 requests x 2048 tokens
    assert "0.2 GiB for a cache of 524288 tokens (fp16)" in told
    assert "Free on the GPUs: 0.1 GiB" in told
    assert "cache_tokens, cache_type, slots, context" in told


def test_options_that_contradict_each_other(folder: Path) -> None:
    """Refused: a cache smaller than a request, a context beyond the model's, two kinds of speculative decoding."""
    assert "cache_tokens is 300" in complaint(folder, context=1024, cache_tokens=300)
    assert "was trained for 2048 tokens" in complaint(folder, context=4096)
    assert "are both set" in complaint(folder, context=256, draft_model=str(folder), ngram_draft=True)


def test_a_draft_model_of_another_vocabulary(folder: Path, tiny_folder: Path) -> None:
    """A draft model with other tokens is refused, because its guesses would be wrong."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    words = list(tokenizer["model"]["vocab"])
    tokenizer["model"]["vocab"] = {word: at for at, word in enumerate([*words[:-2], words[-1], words[-2]])}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert "another vocabulary" in complaint(tiny_folder, context=256, draft_model=str(folder))


def test_a_lora_that_is_a_pickle(folder: Path, tmp_path: Path) -> None:
    """An adapter in a pickle is refused, because reading a pickle can run any code."""
    lora = tmp_path / "lora"
    assert "does not exist" in complaint(folder, context=256, loras=(LoraOptions(folder=str(lora)),))
    lora.mkdir()
    assert "has no adapter_config.json" in complaint(folder, context=256, loras=(LoraOptions(folder=str(lora)),))
    (lora / "adapter_model.bin").write_bytes(b"x")
    assert "pickle" in complaint(folder, context=256, loras=(LoraOptions(folder=str(lora)),))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_machine_without_a_gpu_says_so_in_one_line(tiny_folder: Path, tmp_path: Path) -> None:
    """`jan check`, like `jan serve`, ends with one line that names the model and says that a GPU is missing."""
    config = tmp_path / "jan.yaml"
    options = f"{{model: {tiny_folder}, context: 256}}"
    config.write_text(f"extends: {DEFAULT_CONFIG}\nmodels: [{{id: big, engine: exllamav2, options: {options}}}]\n")
    result = CliRunner().invoke(main, ["check", str(config)])
    assert result.exit_code != 0
    [line] = result.output.strip().splitlines()
    assert "(big): The exllamav2 engine needs an NVIDIA GPU, and this machine shows none" in line


def test_a_library_that_can_not_be_opened_leaves_no_stand_in_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failed import, nothing may take the stand-in for the real flash-attn."""
    names = ("flash_attn", "flash_attn_2_cuda")
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    if find_spec("flash_attn") is not None:
        pytest.skip("flash-attn is installed: nothing stands in for it")
    monkeypatch.setitem(sys.modules, "exllamav2", None)  # its import fails
    with pytest.raises(ConfigurationError, match="can't be loaded or compiled"):
        CudaDevice().open()
    assert not [name for name in names if name in sys.modules]

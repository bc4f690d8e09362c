"""Models on disk: the kind of each, the engine that serves it, the memory it takes."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from jan.engine.model_trials.gguf_header import read_gguf_header
from jan.errors import ConfigurationError

Kind = Literal["gguf", "exl2", "exl3", "gptq", "safetensors", "unknown"]

_ENGINES: tuple[tuple[Kind, str], ...] = (
    ("gguf", "llamacpp"),
    ("exl2", "exllamav2"),
    ("gptq", "exllamav2"),
    ("safetensors", "exllamav2"),
    ("exl3", "exllamav3"),
)
# Memory in addition to weights and cache: activations, the library's buffers, the driver's context.
_OVERHEAD_BYTES = 600 * 2**20
_BYTES_OF_FP16 = 2


class ModelFiles(msgspec.Struct, frozen=True, kw_only=True):
    """A model on disk.

    ``weights``: bytes of the weights. ``token_bytes``: bytes of key-value cache (fp16) for one token; 0 if
    unknown.
    ``context``: the longest context that it was trained for, in tokens; 0 if unknown.
    """

    path: Path
    kind: Kind
    weights: int
    token_bytes: int = 0
    context: int = 0

    @property
    def engine(self) -> str:
        """The engine that serves this model; '' if none does."""
        return dict(_ENGINES).get(self.kind, "")

    def context_in(self, memory: int) -> int:
        """Return the tokens of context that fit into ``memory`` bytes with the weights; 0 if the weights don't
        fit."""
        room = memory - self.weights - _OVERHEAD_BYTES
        if room <= 0:
            return 0
        if not self.token_bytes:
            return self.context
        fitting = room // self.token_bytes
        return min(fitting, self.context) if self.context else fitting

    @property
    def least_memory(self) -> int:
        """Bytes that the model takes without any context."""
        return self.weights + _OVERHEAD_BYTES


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Free memory in bytes. ``gpu``: of all GPUs together; None without an NVIDIA GPU."""

    ram: int
    gpu: int | None


def find_models(folder: Path) -> Iterator[ModelFiles]:
    """Yield every model below the folder, by path: .gguf files, and folders with a config.json and weights."""
    for path in sorted(folder.rglob("*")):
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue  # files of the Hub's library
        if path.suffix == ".gguf" and path.is_file():
            yield inspect_gguf(path)
        elif path.name == "config.json" and any(path.parent.glob("*.safetensors")):
            yield inspect_folder(path.parent)


def inspect_folder(folder: Path) -> ModelFiles:
    """Describe a folder in Hugging Face's format."""
    weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    try:
        config = msgspec.json.decode((folder / "config.json").read_bytes(), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, OSError):
        return ModelFiles(path=folder, kind="unknown", weights=weights)
    text: Any = config.get("text_config", config)  # vision models keep the language model's entries in it
    return ModelFiles(
        path=folder,
        kind=_kind(config),
        weights=weights,
        token_bytes=_cache_bytes(
            _number(text, "num_hidden_layers"),
            _number(text, "num_key_value_heads") or _number(text, "num_attention_heads"),
            _number(text, "head_dim")
            or _ratio(_number(text, "hidden_size"), _number(text, "num_attention_heads")),
        ),
        context=_number(text, "max_position_embeddings"),
    )


def _kind(config: dict[str, Any]) -> Kind:
    quantization = config.get("quantization_config")
    if not isinstance(quantization, dict):
        return "safetensors"
    method = quantization.get("quant_method")
    return method if method in ("exl2", "exl3", "gptq") else "unknown"


def inspect_gguf(file: Path) -> ModelFiles:
    """Describe a GGUF file. One whose header is wrong is of an unknown kind."""
    weights = file.stat().st_size
    try:
        header = read_gguf_header(file)
    except ConfigurationError:
        return ModelFiles(path=file, kind="unknown", weights=weights)
    architecture = header.get("general.architecture", "")
    values = {key.removeprefix(f"{architecture}."): value for key, value in header.items()}
    heads = _number(values, "attention.head_count")
    head_size = _number(values, "attention.key_length") or _ratio(_number(values, "embedding_length"), heads)
    return ModelFiles(
        path=file,
        kind="gguf",
        weights=weights,
        token_bytes=_cache_bytes(
            _number(values, "block_count"), _number(values, "attention.head_count_kv") or heads, head_size
        ),
        context=_number(values, "context_length"),
    )


def _cache_bytes(layers: int, heads: int, head_size: int) -> int:
    """Return the bytes of keys and values of one token."""
    return 2 * layers * heads * head_size * _BYTES_OF_FP16


def _number(values: Any, key: str) -> int:
    found = values.get(key) if isinstance(values, dict) else None
    return found if isinstance(found, int) and found > 0 else 0


def _ratio(whole: int, parts: int) -> int:
    return whole // parts if parts else 0


def free_memory() -> Memory:
    """Return the memory that is free now. For GPUs, nvidia-smi is asked, so no GPU library is needed."""
    return Memory(ram=_free_ram(), gpu=_free_gpu())


def _free_ram() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0
    kilobytes = next((line.split()[1] for line in lines if line.startswith("MemAvailable:")), "0")
    return int(kilobytes) * 1024


def _free_gpu() -> int | None:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    command = [tool, "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    numbers = [int(line) for line in answer.split() if line.isdigit()]
    return sum(numbers) * 2**20 if numbers else None

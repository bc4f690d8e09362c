"""A model's folder: what it holds, whether an engine can serve it, how much memory it takes.

Read with the standard library alone, so that a wrong folder is told of before anything heavy is loaded.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec

from jan.engine.backends.exllama.common.options import CacheType
from jan.errors import ConfigurationError

# Bytes of one number in the cache; quantised ones with their scales (a half for every 32).
_CACHE_BYTES: tuple[tuple[CacheType, float], ...] = (("fp16", 2.0), ("q8", 1.0625), ("q6", 0.8125), ("q4", 0.5625))
# Where a folder's safetensors file says what is in it.
_LONGEST_HEADER = 100 * 2**20


class FolderFormats(msgspec.Struct, frozen=True, kw_only=True):
    """What a library reads: ``methods`` of quantisation, as ``described``; ``rope_parameters``: whether it finds
    the rope base where transformers 5 writes it."""

    methods: tuple[str, ...]
    described: str
    rope_parameters: bool


class _Quantization(msgspec.Struct, frozen=True):
    quant_method: str = "none"


class _Shape(msgspec.Struct, frozen=True):
    """What config.json says of the language part; None where it says nothing."""

    vocab_size: Annotated[int, msgspec.Meta(ge=1)] | None = None
    max_position_embeddings: int | None = None
    num_hidden_layers: int | None = None
    num_attention_heads: int | None = None
    num_key_value_heads: int | None = None
    hidden_size: int | None = None
    head_dim: int | None = None


class _Config(_Shape, frozen=True):
    architectures: tuple[str, ...] | None = None
    quantization_config: _Quantization | None = None
    text_config: _Shape | None = None
    tie_word_embeddings: bool | None = None


class _Tensor(msgspec.Struct, frozen=True):
    data_offsets: tuple[int, int] = (0, 0)


class ModelFolder:
    """A checked folder. Raises ConfigurationError for one that the library can't serve."""

    def __init__(self, path: str, formats: FolderFormats) -> None:
        self._formats = formats
        self.path = Path(path).expanduser()
        if not self.path.is_dir():
            raise ConfigurationError(f"model folder {path} does not exist")
        self.config = self.read("config.json")
        if not self.config:
            raise self._refusal("has no config.json")
        if not (self.path / "tokenizer.json").is_file():
            raise self._refusal("has no tokenizer.json")
        self._weights = sorted(self.path.glob("*.safetensors"))
        if not self._weights:
            raise self._refusal("has no .safetensors files")
        try:
            self._config = msgspec.convert(self.config, _Config)
        except msgspec.ValidationError as error:
            raise self._refusal(f"has a config.json with a wrong entry: {error}") from error
        self._text: _Shape = self._config.text_config or self._config
        self._check_format()

    def read(self, name: str) -> dict[str, Any]:
        """A JSON file of the folder, {} if it is not there."""
        file = self.path / name
        if not file.is_file():
            return {}
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise self._refusal(f"has a {name} that is not JSON: {error}") from error
        if not isinstance(content, dict):
            raise self._refusal(f"has a {name} that is not a JSON object")
        return content

    def _check_format(self) -> None:
        quantization = self._config.quantization_config
        method = quantization.quant_method if quantization else "none"
        if method not in ("none", *self._formats.methods):
            raise self._refusal(f"is quantised as '{method}'; this engine takes {self._formats.described}")
        if len(self._config.architectures or ()) != 1:
            raise self._refusal("does not name one architecture in config.json")
        # The library would go on with a default, and the model would talk nonsense.
        misplaced = "rope_parameters" in self.config and "rope_theta" not in self.config
        if misplaced and not self._formats.rope_parameters:
            raise self._refusal(
                "was written by transformers 5: copy rope_theta from rope_parameters to the top of config.json"
            )

    def _refusal(self, why: str) -> ConfigurationError:
        return ConfigurationError(f"model folder {self.path} {why}")

    @property
    def trained_context(self) -> int:
        """The longest context the model was made for, in tokens; 0 if it does not say."""
        return self._text.max_position_embeddings or 0

    @property
    def vocab_size(self) -> int:
        """Rows of the model's vocabulary; 0 if it does not say."""
        return self._text.vocab_size or 0

    @property
    def weight_bytes(self) -> int:
        """Bytes of weights on the GPUs: all, but not an embedding that is no output layer too."""
        size = sum(file.stat().st_size for file in self._weights)
        return size if self._config.tie_word_embeddings else size - self._embedding_bytes()

    def _embedding_bytes(self) -> int:
        for name, tensor in self._tensors():
            if name.endswith("embed_tokens.weight"):
                begin, end = tensor.data_offsets
                return end - begin
        return 0

    def _tensors(self) -> Iterator[tuple[str, _Tensor]]:
        for file in self._weights:
            with file.open("rb") as data:
                length = int.from_bytes(data.read(8), "little")
                if not 2 <= length <= _LONGEST_HEADER:
                    raise self._refusal(f"has a {file.name} that is no safetensors file")
                try:
                    # Its entry __metadata__ passes: nothing in a _Tensor must be there.
                    header = msgspec.json.decode(data.read(length), type=dict[str, _Tensor])
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    raise self._refusal(f"has a {file.name} that is no safetensors file") from error
            yield from header.items()

    def cache_bytes(self, tokens: int, cache_type: CacheType) -> int:
        """Bytes that a cache of so many tokens takes."""
        text = self._text
        heads = text.num_attention_heads or 1
        size = text.head_dim or (text.hidden_size or 0) // heads
        numbers = 2 * (text.num_hidden_layers or 0) * (text.num_key_value_heads or heads) * size
        return int(tokens * numbers * dict(_CACHE_BYTES)[cache_type])

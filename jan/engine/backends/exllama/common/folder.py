"""A model's folder: its configuration, a check that an engine can serve it, the memory it takes.

Reading it needs no model library, so a wrong folder is reported before anything heavy is loaded.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import msgspec

from jan.engine.backends.exllama.common.options import CacheType
from jan.engine.refusals import reason_of
from jan.errors import ConfigurationError

# Bytes of one number in the cache. Quantised ones include their scales: a float16 for every 32 numbers.
_CACHE_BYTES: tuple[tuple[CacheType, float], ...] = (("fp16", 2.0), ("q8", 1.0625), ("q6", 0.8125), ("q4", 0.5625))
# Bytes of the header of a safetensors file, which lists its tensors; the library's own limit.
_LONGEST_HEADER = 100 * 2**20
# Bytes of a JSON file of the folder but for the vocabulary, which only the trial reads.
_LONGEST_JSON = 16 * 2**20
# Bits of a number of each type in safetensors.
_BITS = MappingProxyType(
    {"BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "I16": 16, "U16": 16, "F16": 16}
    | {"BF16": 16, "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64}
)
_Count = Annotated[int, msgspec.Meta(ge=1, le=1 << 32)]


class FolderFormats(msgspec.Struct, frozen=True, kw_only=True):
    """The formats that a library reads.

    ``methods``: values of ``quant_method``. ``described``: the same in words, for messages. ``rope_parameters``:
    the library finds the base of the rotary embedding where transformers 5 writes it.
    """

    methods: tuple[str, ...]
    described: str
    rope_parameters: bool


class _Quantization(msgspec.Struct, frozen=True):
    quant_method: str = "none"


class _Shape(msgspec.Struct, frozen=True):
    """The shape of the language model in config.json; None where an entry is missing."""

    vocab_size: Annotated[int, msgspec.Meta(ge=1, le=1 << 24)] | None = None
    max_position_embeddings: _Count | None = None
    num_hidden_layers: Annotated[int, msgspec.Meta(ge=1, le=10_000)] | None = None
    num_attention_heads: Annotated[int, msgspec.Meta(ge=1, le=1 << 16)] | None = None
    num_key_value_heads: Annotated[int, msgspec.Meta(ge=1, le=1 << 16)] | None = None
    hidden_size: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)] | None = None
    head_dim: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)] | None = None


class _Config(_Shape, frozen=True):
    architectures: tuple[str, ...] | None = None
    quantization_config: _Quantization | None = None
    text_config: _Shape | None = None
    tie_word_embeddings: bool | None = None


class _TensorEntry(msgspec.Struct, frozen=True):
    dtype: str = ""
    shape: tuple[int, ...] = ()
    data_offsets: tuple[int, int] = (0, 0)

    def mistake(self, room: int) -> str | None:
        """Return what is wrong in the entry, None if nothing is. ``room``: bytes of all tensors."""
        begin, end = self.data_offsets
        if not 0 <= begin <= end <= room:
            return f"data_offsets {begin}, {end} that are not in the file"
        bits = math.prod(self.shape) * _BITS.get(self.dtype, 0)
        if min(self.shape, default=1) < 0 or (self.dtype in _BITS and bits != (end - begin) * 8):
            return f"a shape {list(self.shape)} that does not fit its data"
        return None


class ModelFolder:
    """A checked model folder. Raises ConfigurationError if the library can't serve it."""

    def __init__(self, path: str, formats: FolderFormats) -> None:
        self._formats = formats
        self.path = Path(path).expanduser()
        if not self.path.is_dir():
            raise ConfigurationError(f"Model folder {path} does not exist.")
        self.config = self.read("config.json")
        if not self.config:
            raise self._refusal("has no config.json")
        if not (self.path / "tokenizer.json").is_file():
            raise self._refusal("has no tokenizer.json")
        #: The files of the weights.
        self.weights = sorted(self.path.glob("*.safetensors"))
        if not self.weights:
            raise self._refusal("has no .safetensors files")
        try:
            self._config = msgspec.convert(self.config, _Config)
        except msgspec.ValidationError as error:
            raise self._refusal(f"has a config.json with a wrong entry: {reason_of(error)}") from error
        self._text: _Shape = self._config.text_config or self._config
        self._check_format()

    def read(self, name: str) -> dict[str, Any]:
        """Return a JSON file of the folder as a dict, {} if the file is missing. Raises ConfigurationError."""
        file = self.path / name
        if not file.is_file():
            return {}
        if file.stat().st_size > _LONGEST_JSON:
            raise self._refusal(f"has a {name} of more than {_LONGEST_JSON >> 20} MiB")
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise self._refusal(f"has a {name} that is not JSON: {reason_of(error)}") from error
        if not isinstance(content, dict):
            raise self._refusal(f"has a {name} that is not a JSON object")
        return content

    def _check_format(self) -> None:
        quantization = self._config.quantization_config
        method = quantization.quant_method if quantization else "none"
        if method not in ("none", *self._formats.methods):
            raise self._refusal(f"is quantised as '{method}'. This engine takes {self._formats.described}")
        if len(self._config.architectures or ()) != 1:
            raise self._refusal("does not name one architecture in config.json")
        # The library would silently use a default, and the model would write nonsense.
        misplaced = "rope_parameters" in self.config and "rope_theta" not in self.config
        if misplaced and not self._formats.rope_parameters:
            raise self._refusal(
                "was written by transformers 5. Copy rope_theta from rope_parameters to the top of config.json"
            )

    def _refusal(self, why: str) -> ConfigurationError:
        return ConfigurationError(f"Model folder {self.path} {why}.")

    @property
    def trained_context(self) -> int:
        """The longest context that the model was trained for, in tokens; 0 if unknown."""
        return self._text.max_position_embeddings or 0

    @property
    def vocab_size(self) -> int:
        """Rows of the embedding matrix; 0 if unknown."""
        return self._text.vocab_size or 0

    @property
    def weight_bytes(self) -> int:
        """Bytes of weights on the GPUs. An embedding that is not also the output layer stays on the CPU."""
        size = sum(file.stat().st_size for file in self.weights)
        return size if self._config.tie_word_embeddings else size - self._embedding_bytes()

    def _embedding_bytes(self) -> int:
        for name, tensor in self._tensors():
            if name.endswith("embed_tokens.weight"):
                begin, end = tensor.data_offsets
                return end - begin
        return 0

    def _tensors(self) -> Iterator[tuple[str, _TensorEntry]]:
        for file in self.weights:
            with file.open("rb") as data:
                length = int.from_bytes(data.read(8), "little")
                if not 2 <= length <= _LONGEST_HEADER:
                    raise self._refusal(f"has a {file.name} that is no safetensors file")
                try:
                    # The entry __metadata__ decodes too, because a _TensorEntry needs no field.
                    header = msgspec.json.decode(data.read(length), type=dict[str, _TensorEntry])
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    raise self._refusal(f"has a {file.name} that is no safetensors file") from error
            room = file.stat().st_size - 8 - length
            for tensor, entry in header.items():
                if (mistake := entry.mistake(room)) is not None:
                    raise self._refusal(f"has a {file.name} whose tensor {tensor} has {mistake}")
            yield from header.items()

    def check_weights(self) -> None:
        """Read the headers of all weights. Raises ConfigurationError for a tensor that is not in its file."""
        for _ in self._tensors():
            pass

    def cache_bytes(self, tokens: int, cache_type: CacheType) -> int:
        """Return the bytes that a key-value cache of this many tokens takes."""
        text = self._text
        heads = text.num_attention_heads or 1
        size = text.head_dim or (text.hidden_size or 0) // heads
        numbers = 2 * (text.num_hidden_layers or 0) * (text.num_key_value_heads or heads) * size
        return int(tokens * numbers * dict(_CACHE_BYTES)[cache_type])

"""The front of the llama.cpp engine: what can be known without the library."""

from importlib.util import find_spec

from jan.engine.backends.llamacpp.gguf_files import BUNDLED, files_of, resolve_model_file
from jan.engine.backends.llamacpp.options import LlamaCppOptions
from jan.engine.model_trials.model_trial import ModelTrial, mapped_bytes
from jan.errors import ConfigurationError

if find_spec("cyllama") is None:
    # Only looked for: the process of the model imports it.
    raise ModuleNotFoundError("No module named 'cyllama'", name="cyllama")


class LlamaCppFront:
    """The checked options of a GGUF model, and its files."""

    Options = LlamaCppOptions
    isolation = "process"

    def __init__(self, options: LlamaCppOptions) -> None:
        self._options = options
        self._file = resolve_model_file(options.model)
        self._cache_tokens = options.cache_tokens or options.slots * options.context
        if self._cache_tokens < options.context:
            raise ConfigurationError(
                f"Option cache_tokens is {self._cache_tokens}. It must be at least context ({options.context})."
            )

    def trial(self) -> ModelTrial | None:
        """Return the trial of the model's file. The bundled one was installed by its hash, like this code."""
        if self._options.model == BUNDLED:
            return None
        return ModelTrial(
            call="jan.engine.backends.llamacpp.first_reading:read_first",
            arguments={
                "model": str(self._file),
                "tool_format": self._options.tool_format,
                "reasoning": self._options.reasoning,
                "pooling": self._options.pooling,
            },
            files=tuple(map(str, files_of(self._file))),
            named=f"Model file {self._file}",
            mapped_bytes=mapped_bytes(self._file),
        )

"""From a folder to the library's generator. Importing this imports the library."""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import exllamav3

from jan.engine.backends.exllama.common.folder import ModelFolder
from jan.engine.backends.exllama.common.loading import load_errors
from jan.engine.backends.exllama.v3.options import ExLlamaV3Options
from jan.engine.base import OnProgress

_BITS = MappingProxyType({"q8": 8, "q6": 6, "q4": 4})
# How many tokens must agree before n-grams guess, as the ExLlamaV2 engine's library has it.
_LEAST_MATCH = 2
# More than any padding of the output layer.
_PADDING = 256


class WordlessTokenizer(exllamav3.Tokenizer):  # type: ignore[misc]
    """The library's tokenizer without texts: those are ours, and it would decode its whole vocabulary."""

    def __init__(self, config: Any) -> None:
        # Asked for while the library reads the vocabulary, whose size is not known yet.
        self._words = [""] * (config.vocab_size + _PADDING)
        super().__init__(config)

    def get_id_to_piece_list(self, include_special_tokens: bool = False) -> list[str]:
        """Empty texts."""
        return self._words


class LoadedModel:
    """Weights and cache on their devices, and the generator over them."""

    def __init__(self, options: ExLlamaV3Options, cells: int) -> None:
        self._options = options
        self._cells = cells
        self._models: list[Any] = []
        self.generator: Any = None

    def load(self, folder: ModelFolder, draft: ModelFolder | None, progress: OnProgress) -> None:
        """Load; raises ConfigurationError for what the library refuses, MemoryError if it does not fit."""
        part = 0.8 if draft else 1.0
        with load_errors(folder.path):
            model, cache = self._load_weights(folder, lambda done: progress(done * part))
            drafting = self._load_weights(draft, lambda done: progress(part + done * 0.2)) if draft else None
            self.generator = self._make_generator(model, cache, drafting)

    def _load_weights(self, folder: ModelFolder, progress: Callable[[float], None]) -> tuple[Any, Any]:
        chosen = self._options
        model = exllamav3.Model.from_config(exllamav3.Config.from_directory(str(folder.path)))
        self._models.append(model)
        # Before the weights, which are loaded with the memory of their part of it.
        cache = exllamav3.Cache(
            model,
            max_num_tokens=self._cells,
            max_batch_size=chosen.slots,
            max_history=chosen.ahead,
            **_layers(chosen.cache_type),
        )

        def report(done: int, total: int) -> None:
            progress(done / total)

        model.load(
            use_per_device=list(chosen.gpu_split) or None,
            max_chunk_size=chosen.chunk,
            max_output_size=1 + chosen.ahead,
            max_batch_size=chosen.slots,
            callback=report,
        )
        return model, cache

    def _make_generator(self, model: Any, cache: Any, drafting: tuple[Any, Any] | None) -> Any:
        chosen = self._options
        draft_model, draft_cache = drafting or (None, None)
        return exllamav3.Generator(
            model,
            cache,
            WordlessTokenizer(model.config),
            max_batch_size=chosen.slots,
            max_chunk_size=chosen.chunk,
            draft_model=draft_model,
            draft_cache=draft_cache,
            num_draft_tokens=chosen.ahead or None,
            ngram_match_min=_LEAST_MATCH if chosen.ngram_draft else 0,
        )

    def forget_jobs(self) -> None:
        """After an exception in a step: it belongs to no job, and what the pages hold is not known any more."""
        generator = self.generator
        generator.active_jobs.clear()
        generator.pending_jobs.clear()
        generator.pagetable.reset_page_table()
        if generator.recurrent_cache is not None:
            generator.recurrent_cache.close()
            generator.recurrent_cache.pagetable = generator.pagetable
        for cache in filter(None, (generator.cache, generator.draft_cache)):
            cache.reset_states()

    def close(self) -> None:
        """Free threads, cache and weights."""
        if self.generator is not None:
            self.generator.close()
        for model in self._models:
            model.unload()
        self._models.clear()
        self.generator = None


def _layers(cache_type: str) -> dict[str, Any]:
    if cache_type == "fp16":
        return {"layer_type": exllamav3.CacheLayer_fp16}
    bits = _BITS[cache_type]
    return {"layer_type": exllamav3.CacheLayer_quant, "k_bits": bits, "v_bits": bits}

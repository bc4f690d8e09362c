"""Load weights, cache and generator of ExLlamaV3. Importing this imports the library."""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import exllamav3

from jan.engine.backends.exllama.common.folder import ModelFolder
from jan.engine.backends.exllama.common.loading import OUTPUT_PADDING, LoadedGenerator
from jan.engine.backends.exllama.v3.options import ExLlamaV3Options

_BITS = MappingProxyType({"q8": 8, "q6": 6, "q4": 4})
# Tokens that an n-gram must match before it is used for a draft: ExLlamaV2's value.
_NGRAM_MATCH_MIN = 2


class WordlessTokenizer(exllamav3.Tokenizer):  # type: ignore[misc]
    """The library's tokenizer without texts. Text is ours, and the library would decode its whole vocabulary."""

    def __init__(self, config: Any) -> None:
        # The library asks for it in its constructor, before it knows the size of the vocabulary.
        self._words = [""] * (config.vocab_size + OUTPUT_PADDING)
        super().__init__(config)

    def get_id_to_piece_list(self, include_special_tokens: bool = False) -> list[str]:
        """Return an empty text for each token."""
        return self._words


class LoadedModel(LoadedGenerator):
    """Weights and cache on their devices, and ExLlamaV3's generator over them."""

    def __init__(self, options: ExLlamaV3Options, cache_tokens: int) -> None:
        super().__init__(cache_tokens)
        self._options = options

    def _load_weights(self, folder: ModelFolder, progress: Callable[[float], None]) -> tuple[Any, Any]:
        chosen = self._options
        model = exllamav3.Model.from_config(exllamav3.Config.from_directory(str(folder.path)))
        self._models.append(model)
        # Before the weights: each layer of weights is loaded together with its layer of the cache.
        cache = exllamav3.Cache(
            model,
            max_num_tokens=self._cache_tokens,
            max_batch_size=chosen.slots,
            max_history=chosen.drafted_tokens,
            **_cache_layers(chosen.cache_type),
        )

        def report(done: int, total: int) -> None:
            progress(done / total)

        model.load(
            use_per_device=list(chosen.gpu_split) or None,
            max_chunk_size=chosen.chunk,
            max_output_size=1 + chosen.drafted_tokens,
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
            num_draft_tokens=chosen.drafted_tokens or None,
            ngram_match_min=_NGRAM_MATCH_MIN if chosen.ngram_draft else 0,
        )

    def forget_jobs(self) -> None:
        """Drop all jobs and the cache's contents, after a step raised and left them in an unknown state."""
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


def _cache_layers(cache_type: str) -> dict[str, Any]:
    if cache_type == "fp16":
        return {"layer_type": exllamav3.CacheLayer_fp16}
    bits = _BITS[cache_type]
    return {"layer_type": exllamav3.CacheLayer_quant, "k_bits": bits, "v_bits": bits}

"""Load weights, cache and generator of ExLlamaV2. Importing this imports the library."""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import exllamav2
from exllamav2 import stloader

from jan.engine.backends.exllama.common.folder import ModelFolder
from jan.engine.backends.exllama.common.loading import OUTPUT_PADDING, LoadedGenerator
from jan.engine.backends.exllama.v2.generation import Generator
from jan.engine.backends.exllama.v2.loras import check_lora
from jan.engine.backends.exllama.v2.options import ExLlamaV2Options

_CACHES = MappingProxyType(
    {
        "fp16": exllamav2.ExLlamaV2Cache,
        "q8": exllamav2.ExLlamaV2Cache_Q8,
        "q6": exllamav2.ExLlamaV2Cache_Q6,
        "q4": exllamav2.ExLlamaV2Cache_Q4,
    }
)


class LoadedModel(LoadedGenerator):
    """Weights and cache on their devices, and ExLlamaV2's generator over them. ``gpus``: number of GPUs."""

    def __init__(self, options: ExLlamaV2Options, cache_tokens: int, gpus: int) -> None:
        super().__init__(cache_tokens)
        self._options = options
        self._gpus = gpus

    def _load_weights(self, folder: ModelFolder, progress: Callable[[float], None]) -> tuple[Any, Any]:
        chosen = self._options
        config = exllamav2.ExLlamaV2Config(str(folder.path))
        config.arch_compat_overrides()
        # Room for drafted tokens past the end, because their positions are computed too.
        config.max_seq_len = chosen.context + chosen.drafted_tokens + 1
        config.max_input_len = max(chosen.chunk, 8 * chosen.slots)
        model = exllamav2.ExLlamaV2(config)
        self._models.append(model)

        def report(done: int, total: int) -> None:
            progress(done / total)

        make_cache = _CACHES[chosen.cache_type]
        if self._gpus > 1 and not chosen.gpu_split:
            cache = make_cache(model, max_seq_len=self._cache_tokens, lazy=True)
            model.load_autosplit(cache, last_id_only=True, callback=report)
            return model, cache
        model.load(list(chosen.gpu_split) or None, callback=report)
        return model, make_cache(model, max_seq_len=self._cache_tokens)

    def _make_generator(self, model: Any, cache: Any, drafting: tuple[Any, Any] | None) -> Any:
        chosen = self._options
        draft_model, draft_cache = drafting or (None, None)
        tokenizer = exllamav2.ExLlamaV2Tokenizer(model.config)
        # Text is ours. Without this, the library would decode its whole vocabulary at the first request.
        tokenizer.id_to_piece = tokenizer.id_to_piece_with_special = [""] * (
            model.config.vocab_size + OUTPUT_PADDING
        )
        return Generator(
            model,
            cache,
            tokenizer,
            max_batch_size=chosen.slots,
            max_chunk_size=chosen.chunk,
            draft_model=draft_model,
            draft_cache=draft_cache,
            num_draft_tokens=chosen.draft_tokens,
            use_ngram_draft=chosen.ngram_draft,
        )

    def _load_loras(self, model: Any) -> None:
        loras = [
            exllamav2.ExLlamaV2Lora.from_directory(model, str(check_lora(lora.folder)), lora.scale)
            for lora in self._options.loras
        ]
        if loras:
            self.generator.set_loras(loras)
            model.update_loras()

    def forget_jobs(self) -> None:
        """Drop all jobs and the cache's contents, after a step raised and left them in an unknown state."""
        generator = self.generator
        generator.active_jobs.clear()
        generator.pending_jobs.clear()
        generator.filter_queue.clear()
        generator.reset_page_table()

    def close(self) -> None:
        """Free threads, cache and weights."""
        if self.generator is not None:
            self.generator.sampling_pool.shutdown()
            self.generator.filter_pool.shutdown()
        for model in self._models:
            if model.loaded:
                model.unload()
        self._models.clear()
        self.generator = None
        # The library caches the files of a folder that it failed to load, and would not see it repaired.
        stloader.cleanup_stfiles()

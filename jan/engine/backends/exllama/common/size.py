"""GPU memory of a model: its cache in whole pages, and a check that weights and cache fit."""

from jan.engine.backends.exllama.common.folder import ModelFolder
from jan.engine.backends.exllama.common.options import ExLlamaOptions
from jan.errors import ConfigurationError

#: Tokens in a page of the cache.
PAGE = 256
_GIB = 2**30


class ModelSize:
    """The memory that the options ask for. ``cache_tokens``: capacity of the cache in tokens, whole pages.

    Args:
        options: the engine's settings.
        folder: the model.
        draft: the draft model, None without one.
        reserve: cache tokens that a job takes in addition to its own tokens and the drafted ones.

    Raises:
        ConfigurationError: if the options contradict each other.
    """

    def __init__(
        self, options: ExLlamaOptions, folder: ModelFolder, draft: ModelFolder | None, reserve: int
    ) -> None:
        self._options = options
        self._folders = list(filter(None, (folder, draft)))
        self.cache_tokens = self._checked_cache_tokens(reserve)

    def check(self, free: list[int]) -> None:
        """Raise ConfigurationError if the model does not fit. ``free``: free bytes of each GPU."""
        if sum(self._needed_bytes()) > sum(free):
            raise self.does_not_fit(free)

    def does_not_fit(self, free: list[int]) -> ConfigurationError:
        """Return the error that says how much memory is needed and free. ``free``: free bytes of each GPU."""
        weights, cache = self._needed_bytes()
        gpus = " + ".join(f"{size / _GIB:.1f}" for size in free)
        return ConfigurationError(
            f"The model does not fit. It needs {weights / _GIB:.1f} GiB for weights and {cache / _GIB:.1f} GiB "
            f"for a cache of {self.cache_tokens} tokens ({self._options.cache_type}), and some for computing. "
            f"Free on the GPUs: {gpus} GiB. Make one of these smaller: cache_tokens, cache_type, slots, context."
        )

    def _needed_bytes(self) -> tuple[int, int]:
        """Return the bytes of weights and cache, including the draft model's."""
        cache = sum(folder.cache_bytes(self.cache_tokens, self._options.cache_type) for folder in self._folders)
        return sum(folder.weight_bytes for folder in self._folders), cache

    def _checked_cache_tokens(self, reserve: int) -> int:
        """Return the cache's tokens, in whole pages. Raises ConfigurationError if options are contradictory."""
        chosen = self._options
        if chosen.draft_model and chosen.ngram_draft:
            raise ConfigurationError("Options draft_model and ngram_draft are both set; allowed: one of them.")
        for folder in self._folders:
            if 0 < folder.trained_context < chosen.context:
                raise ConfigurationError(
                    f"Option context is {chosen.context}. The model in {folder.path} was trained for "
                    f"{folder.trained_context} tokens at most."
                )
        longest = _pages(chosen.context + chosen.drafted_tokens + reserve) * PAGE
        cache_tokens = _pages(chosen.cache_tokens or chosen.slots * longest) * PAGE
        if cache_tokens < longest:
            raise ConfigurationError(
                f"Option cache_tokens is {chosen.cache_tokens}, which is less than one request may take: "
                f"{longest} (context {chosen.context} and drafted tokens, in pages of {PAGE})."
            )
        return cache_tokens


def _pages(tokens: int) -> int:
    """Return the number of pages for this many tokens."""
    return -(-tokens // PAGE)

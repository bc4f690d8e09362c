"""How much a model takes on the GPUs: its cache in whole pages, and whether weights and cache fit."""

from jan.engine.backends.exllama.common.folder import ModelFolder
from jan.engine.backends.exllama.common.options import ExLlamaOptions
from jan.errors import ConfigurationError

#: Tokens of a page of the cache.
PAGE = 256
_GIB = 2**30


class Size:
    """What the options ask for; ``cells`` are the cache's tokens. ``reserve``: cells that a job takes beyond its
    tokens and those guessed ahead. Raises ConfigurationError where the options contradict each other."""

    def __init__(
        self, options: ExLlamaOptions, folder: ModelFolder, draft: ModelFolder | None, reserve: int
    ) -> None:
        self._options = options
        self._folders = list(filter(None, (folder, draft)))
        self.cells = self._checked_cells(reserve)

    def check(self, free: list[int]) -> None:
        """Raises ConfigurationError if it does not fit into what is free, in bytes, on each GPU."""
        if sum(self._needed_bytes()) > sum(free):
            raise self.does_not_fit(free)

    def does_not_fit(self, free: list[int]) -> ConfigurationError:
        """What is needed and what there is."""
        weights, cache = self._needed_bytes()
        gpus = " + ".join(f"{size / _GIB:.1f}" for size in free)
        return ConfigurationError(
            f"the model does not fit: it needs {weights / _GIB:.1f} GiB for weights and {cache / _GIB:.1f} GiB "
            f"for a cache of {self.cells} tokens ({self._options.cache_type}), and some for computing; free on "
            f"the GPUs: {gpus} GiB. Smaller: cache_tokens, cache_type, slots, context"
        )

    def _needed_bytes(self) -> tuple[int, int]:
        """Weights and cache, of the draft model too."""
        cache = sum(folder.cache_bytes(self.cells, self._options.cache_type) for folder in self._folders)
        return sum(folder.weight_bytes for folder in self._folders), cache

    def _checked_cells(self, reserve: int) -> int:
        """Tokens of the cache, whole pages."""
        chosen = self._options
        if chosen.draft_model and chosen.ngram_draft:
            raise ConfigurationError("draft_model and ngram_draft exclude each other")
        for folder in self._folders:
            if 0 < folder.trained_context < chosen.context:
                raise ConfigurationError(
                    f"context is {chosen.context}; the model in {folder.path} was made for "
                    f"{folder.trained_context} tokens"
                )
        longest = _pages(chosen.context + chosen.ahead + reserve) * PAGE
        cells = _pages(chosen.cache_tokens or chosen.slots * longest) * PAGE
        if cells < longest:
            raise ConfigurationError(
                f"cache_tokens is {chosen.cache_tokens}, which is less than one request may take: {longest} "
                f"(context {chosen.context} and tokens guessed ahead, in pages of {PAGE})"
            )
        return cells


def _pages(tokens: int) -> int:
    """Pages that so many tokens take."""
    return -(-tokens // PAGE)

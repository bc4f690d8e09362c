"""Compiled output formats, and a cache of them."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from jan.engine.prompts.dialects import Dialect

if TYPE_CHECKING:
    import llguidance

# Limits of the cache. The memory of a format grows with its compile time: about 200 MB for each second.
_CACHED_SECONDS = 2.0
_CACHED_FORMATS = 128


class CompiledFormat(msgspec.Struct, frozen=True):
    """A format for one model. ``matchers``: by dialect, None where anything is allowed. ``relaxed``: the paths in
    the request of what is not enforced."""

    matchers: "Mapping[Dialect, llguidance.LLMatcher | None]"
    relaxed: tuple[str, ...]


class FormatCache:
    """A thread-safe cache of compiled formats by key. The least recently used go first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._formats: OrderedDict[bytes, tuple[CompiledFormat, float]] = OrderedDict()

    def get(self, key: bytes) -> CompiledFormat | None:
        """Return the format of this key, None if it is not here."""
        with self._lock:
            if key not in self._formats:
                return None
            self._formats.move_to_end(key)
            return self._formats[key][0]

    def put(self, key: bytes, compiled: CompiledFormat, seconds: float) -> None:
        """Keep a format that took this many seconds of CPU time to compile."""
        with self._lock:
            self._formats[key] = compiled, seconds
            self._formats.move_to_end(key)
            while len(self._formats) > 1 and self._is_full():
                self._formats.popitem(last=False)

    def _is_full(self) -> bool:
        total = sum(seconds for _, seconds in self._formats.values())
        return total > _CACHED_SECONDS or len(self._formats) > _CACHED_FORMATS

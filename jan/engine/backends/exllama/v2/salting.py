"""ExLlamaV2 jobs that reuse only cached pages of their owner. Importing this imports the library."""

from typing import Any

from exllamav2.generator import dynamic

from jan.engine.backends.exllama.common.salting import OwnedPages
from jan.engine.backends.exllama.common.size import PAGE
from jan.engine.backends.exllama.v2.generation import SampledJob


class OwnedJob(OwnedPages, SampledJob):
    """A job whose pages are hashed with its owner's 16-byte salt."""

    def _page_table(self) -> Any:
        return self.generator

    def _page_hash(self, tokens: Any, before: bytes) -> bytes:
        return bytes(dynamic._tensor_hash_checksum(tokens, before))

    def _random_hash(self) -> bytes:
        return bytes(dynamic._randomhash())

    def receive_sample(self, *arguments: Any) -> Any:
        """Record a sampled token. If it completes page 0, hash that page with the salt."""
        ended = super().receive_sample(*arguments)
        # The library hashes page 0 without a salt; each later page is hashed with the hash of the page before it.
        if self._sequence().kv_position == PAGE:
            self._salt_first_page()
        return ended

"""ExLlamaV3 jobs that reuse only cached pages of their owner. Importing this imports the library."""

from typing import Any

from exllamav3.generator import pagetable

from jan.engine.backends.exllama.common.salting import OwnedPages
from jan.engine.backends.exllama.v3.generation import SampledJob


class OwnedJob(OwnedPages, SampledJob):
    """A job whose pages are hashed with its owner's 16-byte salt."""

    def _page_table(self) -> Any:
        return self.pagetable

    def _page_hash(self, tokens: Any, before: bytes) -> bytes:
        return bytes(pagetable.tensor_hash_checksum(tokens, before))

    def _random_hash(self) -> bytes:
        return bytes(pagetable.random_hash())

    def hash_completed_page(self, seq: Any, page_idx: int) -> None:
        """Hash a page that is complete; page 0 with the salt."""
        super().hash_completed_page(seq, page_idx)
        # The library hashes page 0 without a salt; each later page is hashed with the hash of the page before it.
        if page_idx == 0:
            self._salt_first_page()

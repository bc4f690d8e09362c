"""Jobs that reuse cached pages of their own owner alone. Importing this imports the library."""

from typing import Any

from exllamav3.generator import pagetable

from jan.engine.backends.exllama.common.salting import OwnedPages
from jan.engine.backends.exllama.v3.generation import SampledJob


class OwnedJob(OwnedPages, SampledJob):
    """``salt``: 16 bytes of its owner's."""

    def _table(self) -> Any:
        return self.pagetable

    def _checksum(self, tokens: Any, before: bytes) -> bytes:
        return bytes(pagetable.tensor_hash_checksum(tokens, before))

    def _no_name(self) -> bytes:
        return bytes(pagetable.random_hash())

    def hash_completed_page(self, seq: Any, page_idx: int) -> None:
        """Name a page that is complete."""
        super().hash_completed_page(seq, page_idx)
        if page_idx == 0:
            self._rename_first()

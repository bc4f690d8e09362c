"""Jobs that reuse cached pages of their own owner alone. Importing this imports the library."""

from typing import Any

from exllamav2.generator import dynamic

from jan.engine.backends.exllama.common.salting import OwnedPages
from jan.engine.backends.exllama.common.size import PAGE
from jan.engine.backends.exllama.v2.generation import SampledJob


class OwnedJob(OwnedPages, SampledJob):
    """``salt``: 16 bytes of its owner's."""

    def _table(self) -> Any:
        return self.generator

    def _checksum(self, tokens: Any, before: bytes) -> bytes:
        return bytes(dynamic._tensor_hash_checksum(tokens, before))

    def _no_name(self) -> bytes:
        return bytes(dynamic._randomhash())

    def receive_sample(self, *arguments: Any) -> Any:
        """Take a token in, which may complete the first page."""
        ended = super().receive_sample(*arguments)
        if self._sequence().kv_position == PAGE:
            self._rename_first()
        return ended

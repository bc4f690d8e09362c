"""Jobs that reuse cached pages of their own owner alone. Importing this imports the library.

The library finds a known beginning in two ways: whole pages by a hash over all tokens up to their end, and part
of a page by comparing it with every page that follows the same one. The hashes begin with the owner's salt here,
and the comparison sees the owner's pages only.
"""

from typing import Any

from exllamav2.generator import dynamic

from jan.engine.exllamav2.generation import SampledJob

_PAGE = dynamic.PAGED_PAGE_SIZE


class OwnedJob(SampledJob):
    """``salt``: 16 bytes of its owner's."""

    def __init__(self, *arguments: Any, salt: bytes, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._salt = salt
        self._owners: dict[int, bytes | None] = {}

    def prepare_for_queue(self, generator: Any, serial_number: int) -> None:
        """Hash the prompt's pages, beginning with the salt."""
        super().prepare_for_queue(generator, serial_number)
        [sequence] = self.sequences
        chained = self._salt
        for index in range(len(sequence.page_hashes)):
            chained = self._hash(index, chained)
            sequence.page_hashes[index] = chained
        self.all_unique_hashes = list(sequence.page_hashes)

    def _hash(self, index: int, before: bytes) -> bytes:
        tokens = self.sequences[0].sequence_ids.torch_slice(index * _PAGE, (index + 1) * _PAGE)
        hashed: bytes = dynamic._tensor_hash_checksum(tokens, before)
        return hashed

    def allocate_pages(self) -> None:
        """Take pages, as the owner's."""
        super().allocate_pages()
        for page in self.sequences[0].allocated_pages:
            self._owners[id(page)] = _owner(page)
            page.owner = self._salt

    def deallocate_pages(self) -> None:
        """Give pages back; one that was never written is again what it was before, and whose it was."""
        for page in self.sequences[0].allocated_pages or ():
            if page.can_revert:
                page.owner = self._owners.get(id(page))
        super().deallocate_pages()

    def prefill(self, results: list[Any]) -> None:
        """Read some of the prompt; what is cached of it is looked for among the owner's pages."""
        pages = self.generator.all_pages
        self.generator.all_pages = [page for page in pages if _owner(page) == self._salt]
        try:
            super().prefill(results)
        finally:
            self.generator.all_pages = pages

    def receive_sample(self, *arguments: Any) -> Any:
        """Take a token in; if it completes the first page, the library has hashed that without the salt."""
        ended = super().receive_sample(*arguments)
        [sequence] = self.sequences
        if sequence.kv_position == _PAGE:
            salted = self._hash(0, self._salt)
            known = salted in self.generator.referenced_pages or salted in self.generator.unreferenced_pages
            name = dynamic._randomhash() if known else salted
            sequence.allocated_pages[0].update_hash(name)
            sequence.allocated_pages[1].prev_hash = name
        return ended


def _owner(page: Any) -> bytes | None:
    return getattr(page, "owner", None)

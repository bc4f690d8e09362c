"""Jobs that reuse cached pages of their own owner alone, whichever library's.

The libraries find a known beginning in two ways: whole pages by a hash over all tokens up to their end, and part
of a page by comparing it with every page that follows the same one. The hashes begin with the owner's salt here,
and the comparison sees the owner's pages only.
"""

import hashlib
from typing import Any

from jan.engine.backends.exllama.common.size import PAGE


def salt_of(owner: str, secret: bytes) -> bytes:
    """16 bytes that nobody else has, and nobody can find out."""
    return hashlib.blake2b(owner.encode(), key=secret, digest_size=16).digest()


class OwnedPages:
    """Goes before a library's job. ``salt``: 16 bytes of its owner's."""

    def __init__(self, *arguments: Any, salt: bytes, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._salt = salt
        self._owners: dict[int, bytes | None] = {}

    def _table(self) -> Any:
        """What of the library has the list of all pages, and those in use and not by their hashes."""
        raise NotImplementedError

    def _checksum(self, tokens: Any, before: bytes) -> bytes:
        """The library's hash of a page that follows another."""
        raise NotImplementedError

    def _no_name(self) -> bytes:
        """A hash by which the library finds nothing."""
        raise NotImplementedError

    def _sequence(self) -> Any:
        [sequence] = self.sequences  # type: ignore[attr-defined]
        return sequence

    def _hash(self, index: int, before: bytes) -> bytes:
        tokens = self._sequence().sequence_ids.torch_slice(index * PAGE, (index + 1) * PAGE)
        return self._checksum(tokens, before)

    def prepare_for_queue(self, generator: Any, serial_number: int) -> None:
        """Hash the prompt's pages, beginning with the salt."""
        super().prepare_for_queue(generator, serial_number)  # type: ignore[misc]
        sequence, chained = self._sequence(), self._salt
        for index in range(len(sequence.page_hashes)):
            chained = self._hash(index, chained)
            sequence.page_hashes[index] = chained
        self.all_unique_hashes = list(sequence.page_hashes)

    def allocate_pages(self) -> None:
        """Take pages, as the owner's."""
        super().allocate_pages()  # type: ignore[misc]
        for page in self._sequence().allocated_pages:
            self._owners[id(page)] = _owner(page)
            page.owner = self._salt

    def deallocate_pages(self) -> None:
        """Give pages back; one that was never written is again what it was before, and whose it was."""
        for page in self._sequence().allocated_pages or ():
            if page.can_revert:
                page.owner = self._owners.get(id(page))
        super().deallocate_pages()  # type: ignore[misc]

    def prefill(self, *arguments: Any, **named: Any) -> None:
        """Read some of the prompt; what is cached of it is looked for among the owner's pages."""
        table = self._table()
        pages = table.all_pages
        table.all_pages = [page for page in pages if _owner(page) == self._salt]
        try:
            super().prefill(*arguments, **named)  # type: ignore[misc]
        finally:
            table.all_pages = pages

    def _rename_first(self) -> None:
        """The answer has completed the first page, which the library has just hashed without the salt."""
        table, pages = self._table(), self._sequence().allocated_pages
        name = self._hash(0, self._salt)
        if name in table.referenced_pages or name in table.unreferenced_pages:
            name = self._no_name()
        pages[0].update_hash(name)
        if len(pages) > 1:
            pages[1].prev_hash = name


def _owner(page: Any) -> bytes | None:
    return getattr(page, "owner", None)

"""Jobs that reuse only cached pages of their own owner, for both libraries.

The libraries find a known prefix in two ways: whole pages by a hash of all tokens up to the page's end (as vLLM's
automatic prefix caching does), and part of a page by comparing it with every page that follows the same one. Here,
the hashes begin with a salt of the owner, and the comparison sees only the owner's pages.
"""

import hashlib
from typing import Any

from jan.engine.backends.exllama.common.size import PAGE


def salt_of(owner: str, secret: bytes) -> bytes:
    """Return the owner's salt: 16 bytes that nobody can compute without the secret."""
    return hashlib.blake2b(owner.encode(), key=secret, digest_size=16).digest()


class OwnedPages:
    """A mixin that goes before a library's job. ``salt``: the owner's, 16 bytes."""

    def __init__(self, *arguments: Any, salt: bytes, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._salt = salt
        self._owners: dict[int, bytes | None] = {}

    def _page_table(self) -> Any:
        """Return the library's object that lists all pages, and finds used and unused ones by their hashes."""
        raise NotImplementedError

    def _page_hash(self, tokens: Any, before: bytes) -> bytes:
        """Return the library's hash of a page: of its ``tokens``, int64 [1, PAGE], and the hash ``before`` it."""
        raise NotImplementedError

    def _random_hash(self) -> bytes:
        """Return a hash by which the library finds nothing."""
        raise NotImplementedError

    def _sequence(self) -> Any:
        [sequence] = self.sequences  # type: ignore[attr-defined]
        return sequence

    def _hash(self, index: int, before: bytes) -> bytes:
        tokens = self._sequence().sequence_ids.torch_slice(index * PAGE, (index + 1) * PAGE)
        return self._page_hash(tokens, before)

    def prepare_for_queue(self, generator: Any, serial_number: int) -> None:
        """Hash the prompt's pages, beginning with the salt."""
        super().prepare_for_queue(generator, serial_number)  # type: ignore[misc]
        sequence, chained = self._sequence(), self._salt
        for index in range(len(sequence.page_hashes)):
            chained = self._hash(index, chained)
            sequence.page_hashes[index] = chained
        self.all_unique_hashes = list(sequence.page_hashes)

    def allocate_pages(self) -> None:
        """Take pages and mark them as the owner's."""
        super().allocate_pages()  # type: ignore[misc]
        for page in self._sequence().allocated_pages:
            self._owners[id(page)] = _owner(page)
            page.owner = self._salt

    def deallocate_pages(self) -> None:
        """Free the pages. A page that was never written gets its former content and owner back."""
        for page in self._sequence().allocated_pages or ():
            if page.can_revert:
                page.owner = self._owners.get(id(page))
        super().deallocate_pages()  # type: ignore[misc]

    def prefill(self, *arguments: Any, **named: Any) -> None:
        """Prefill some of the prompt; only the owner's pages are searched for a known part of a page."""
        table = self._page_table()
        pages = table.all_pages
        table.all_pages = [page for page in pages if _owner(page) == self._salt]
        try:
            super().prefill(*arguments, **named)  # type: ignore[misc]
        finally:
            table.all_pages = pages

    def _salt_first_page(self) -> None:
        """Hash the first page again with the salt, after the library has hashed it without."""
        table, pages = self._page_table(), self._sequence().allocated_pages
        name = self._hash(0, self._salt)
        if name in table.referenced_pages or name in table.unreferenced_pages:
            name = self._random_hash()
        pages[0].update_hash(name)
        if len(pages) > 1:
            pages[1].prev_hash = name


def _owner(page: Any) -> bytes | None:
    return getattr(page, "owner", None)

"""Indexes the texts of messages in the background, in small steps between which others use the store."""

import asyncio

import structlog

from jan.errors import JanError, Unavailable
from jan.storage.repositories import Store
from jan.tasks import end

log = structlog.get_logger(__name__)

# Between two steps while texts wait, and when none does.
_STEP_SECONDS, _IDLE_SECONDS = 0.02, 5.0


class SearchIndexing:
    """Indexes what waits for it. What was not indexed when a server ended goes on waiting in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to index. The store may be away."""
        self._task = asyncio.create_task(self._index())

    async def close(self) -> None:
        """Stop after the step under way."""
        await end(self._task)

    async def _index(self) -> None:
        while True:
            more = False
            try:
                more = await self._store.search.index_some()
            except Unavailable:
                pass  # tried again later
            except JanError as error:
                log.error("texts can't be indexed for searches", reason=error.message)
            await asyncio.sleep(_STEP_SECONDS if more else _IDLE_SECONDS)

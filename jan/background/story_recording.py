"""Stores an answer while a run makes it, in groups. Nobody is shown anything before it is stored."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from jan.background.story import Story
from jan.engine.base import Delta, Event, Finished, Queued
from jan.errors import JanError
from jan.generation.pipeline import Run
from jan.schema.sampling import FinishReason
from jan.storage.records import MessageRecord

# What is made within this time is stored together.
_GROUP_SECONDS = 0.1


class StoryRecording:
    """A sink of one run. ``save`` stores a message and returns once it is durable. ``wait`` gets places in the
    queue."""

    def __init__(
        self,
        story: Story,
        save: Callable[[MessageRecord], Awaitable[None]],
        wait: Callable[[Queued], None] = lambda _place: None,
    ) -> None:
        self._story = story
        self._save = save
        self._wait = wait
        self._changed = asyncio.Event()
        self._over = False
        #: The reason why the answer ended.
        self.reason: FinishReason = "stop"

    def take(self, _index: int, events: Sequence[Event], _at: float, _last: bool) -> None:
        """Add what a model made to the story."""
        if self._over:
            return
        for event in events:
            if isinstance(event, Delta):
                self._story.add(event)
            elif isinstance(event, Finished):
                self.reason = event.reason
            elif isinstance(event, Queued):
                self._wait(event)
        if self._story.has_news:
            self._changed.set()

    async def follow(self, run: Run) -> None:
        """Record a run until it ends. Raises what ended it early, and the store's refusal to save."""
        saver = asyncio.create_task(self._save_groups(run))
        try:
            run.attach(self)
            await run.ended()
        finally:
            # It is not cancelled: what it stores just now must not arrive after what is stored at the end.
            self._over = True
            self._changed.set()
            await asyncio.wait({saver})

    async def _save_groups(self, run: Run) -> None:
        try:
            while await self._has_news():
                await self._save(self._story.message())
                await self._pause()
        except JanError as error:
            run.fail(error)

    async def _has_news(self) -> bool:
        await self._changed.wait()
        self._changed.clear()
        return not self._over

    async def _pause(self) -> None:
        """Let a group grow, but not beyond the end of the run."""
        if not self._over:
            await asyncio.sleep(_GROUP_SECONDS)

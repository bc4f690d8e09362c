"""The answers that are made in the background, as handlers see them: put into the queue, followed, cancelled."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import suppress
from datetime import timedelta

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from jan.auth.running import Permit
from jan.background.live_answers import LiveAnswers
from jan.background.story import StoryRecord, story_of, with_story
from jan.conversations import Turn
from jan.engine.base import Queued
from jan.errors import Conflict, JanError, NotFound, Unavailable
from jan.idempotency.ids import IdSource
from jan.schema.stored_items import JsonObject
from jan.settings import ResponseSettings
from jan.storage.queued_answers import NOT_HELD, QueuedAnswer, QueueLength, QueueRoom
from jan.storage.records import MessageRecord, TokenUsage, now
from jan.storage.repositories import Store
from jan.storage.shared_rules import missing

# Time between two looks at an answer that another process makes.
_LOOK_SECONDS = 0.25
_RETRY_SECONDS = 1.0
# When what could not be begun is tried again.
_LATER = timedelta(seconds=2)
# The names of those who hold an answer only to end it begin so.
_CANCELLING = "cancel "


class BackgroundRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request whose answer is made in the background: as it is stored by its API, and what it rests on."""

    api: str
    route: str
    request: JsonObject
    permit: Permit


class AnswerQueue:
    """The queue of all users' answers. Every method may raise Unavailable. Also a Prometheus collector.

    Attributes:
        holder: the name of this process in leases.
        live: the answers that this process makes.
        on_put: called with an answer that was put into the queue and that this process holds.
        on_taken: called with the id of an answer that was cancelled in this process.
    """

    def __init__(self, store: Store, settings: ResponseSettings) -> None:
        self._store = store
        self._settings = settings
        self._room = QueueRoom(all_users=settings.max_queued, each_user=settings.max_queued_per_user)
        self.holder = secrets.token_hex(8)
        self.live = LiveAnswers()
        self.on_put: Callable[[QueuedAnswer], bool] = lambda _queued: False
        self.on_taken: Callable[[str], None] = lambda _answer_id: None
        #: The length of the queue when it was looked at last.
        self.length = QueueLength(0, 0)
        #: The number of answers that ended in this process, by their status.
        self.ended = dict.fromkeys(("completed", "incomplete", "failed", "cancelled"), 0)

    @property
    def lease(self) -> timedelta:
        """How long an answer is held by a process that does not extend it."""
        return timedelta(seconds=self._settings.lease_seconds)

    async def put(
        self, turn: Turn, answer: MessageRecord, wanted: BackgroundRequest, ids: IdSource
    ) -> MessageRecord:
        """Store a question and the beginning of its answer, and queue it. Returns the answer's message.

        An earlier attempt at it, whose id from ``ids`` the answer has, counts as this one. Raises Unavailable or
        RateLimited if the queue is full, and the store's refusals; nothing is stored then.
        """
        if ids.again:
            with suppress(NotFound):
                return await self.read(answer.id)
        answer = with_story(answer, StoryRecord())
        identity = wanted.permit.identity
        assert identity.user_id is not None  # nothing is stored for others
        queued = QueuedAnswer(
            id=answer.id,
            user_id=identity.user_id,
            conversation_id=answer.conversation_id,
            api=wanted.api,
            route=wanted.route,
            request=wanted.request,
            key_id=identity.key_id,
            session_id=identity.session_id,
            issued_at=identity.issued_at,
            needs=wanted.permit.needs,
            holder=self.holder,
            held_until=now() + self.lease,
        )
        # First, because this may be refused. Without its message, an answer in the queue is dropped.
        try:
            await self._store.queued_answers.add(queued, self._room)
        except Conflict:
            if not ids.again:
                raise
            await self._store.queued_answers.seize(queued.id, self.holder, queued.held_until)
        try:
            await turn.append(answer)
        except JanError:
            await self._store.queued_answers.remove(queued.id, self.holder)
            raise
        if not self.on_put(queued):
            await self._store.queued_answers.release(queued)
        return answer

    async def cancel(self, answer: MessageRecord) -> MessageRecord:
        """End an answer, unless it has ended; return its message. Raises NotFound."""
        holder = f"{_CANCELLING}{secrets.token_hex(8)}"
        queued = await self._store.queued_answers.seize(answer.id, holder, now() + self.lease)
        self.on_taken(answer.id)
        stored = await self.read(answer.id)
        story = story_of(stored)
        if queued is None or story is None:
            return stored
        if stored.status == "streaming":
            story = msgspec.structs.replace(story, cancelled=True)
            stored = with_story(stored, story, status="partial" if story.pieces else "failed", updated_at=now())
            try:
                await self._store.queued_answers.save(holder, stored)
            except Conflict:  # somebody else cancels, or deletes
                return await self.read(answer.id)
            self.ended["cancelled"] += 1
        await self._store.queued_answers.remove(answer.id, holder)
        return stored

    async def watch(self, answer: MessageRecord) -> AsyncGenerator[MessageRecord | Queued, None]:
        """Yield the message of an answer now and after each change, until it has ended.

        Between them come its places in the queue of its model, if this process makes it.

        Raises NotFound if it is deleted, and Unavailable when the server stops.
        """
        place: Queued | None = None
        yield answer
        while answer.status == "streaming":
            newer = await self._after(answer, place)
            if isinstance(newer, Queued):
                place = newer
            else:
                answer = newer
            yield newer

    async def _after(self, known: MessageRecord, place: Queued | None) -> MessageRecord | Queued:
        newer: MessageRecord | Queued | None
        while True:
            live = self.live.find(known.id)
            if live is not None:
                newer = await live.after(known, place)
                self.live.check_open()
            else:
                self.live.check_open()
                await asyncio.sleep(_LOOK_SECONDS)
                newer = await self.read(known.id)
            if newer is not None and newer != known:
                return newer

    # --- for whoever makes them -----------------------------------------------------------------------

    async def claim(self, busy: Sequence[str]) -> QueuedAnswer | None:
        """Hold the oldest answer that nobody holds, and return it; None if there is none.

        Answers of ``busy`` users come after those of all others.
        """
        at, queue = now(), self._store.queued_answers
        found = await queue.claim(self.holder, at + self.lease, at, busy)
        return found if found is not None or not busy else await queue.claim(self.holder, at + self.lease, at)

    async def extend(self) -> frozenset[str]:
        """Extend the leases of this process. Return the ids of the answers that it holds."""
        return frozenset(await self._store.queued_answers.extend(self.holder, now() + self.lease))

    async def save(self, message: MessageRecord) -> None:
        """Store the message of an answer that this process holds, and show it then to those who follow it.

        While the store is away, this is tried again until the server stops. Raises NotFound, and Conflict if
        somebody else holds the answer.
        """
        while True:
            try:
                await self._store.queued_answers.save(self.holder, message)
                break
            except Unavailable:
                if self.live.closed:
                    raise
            await asyncio.sleep(_RETRY_SECONDS)
        live = self.live.find(message.id)
        if live is not None:
            live.show(message)

    async def release(self, queued: QueuedAnswer, charged: TokenUsage | None, *, later: bool = False) -> None:
        """Let go of an answer, whose tokens are charged so far. ``later``: it is not to be claimed at once."""
        left = msgspec.structs.replace(queued, holder=self.holder, charged=charged)
        await self._store.queued_answers.release(left, now() + _LATER if later else NOT_HELD)

    async def remove(self, queued: QueuedAnswer) -> bool:
        """Take an answer that has ended out of the queue; False if somebody else holds it."""
        return await self._store.queued_answers.remove(queued.id, self.holder)

    async def has_ended(self, answer_id: str) -> bool:
        """Return True if nobody goes on with an answer; False if the store does not say so."""
        try:
            queued = await self._store.queued_answers.find(answer_id)
        except Unavailable:
            return False
        return queued is None or queued.holder.startswith(_CANCELLING)

    async def look(self) -> None:
        """Look at the length of the queue, for the metrics."""
        self.length = await self._store.queued_answers.length()

    def close(self) -> None:
        """Tell all who follow answers that the server stops."""
        self.live.close()

    async def read(self, answer_id: str) -> MessageRecord:
        """Return the message of an answer as it is stored. Raises NotFound, also if its content was deleted."""
        for found in await self._store.archive.matching(MessageRecord, [answer_id]):
            if not found.is_emptied:
                return found
        raise NotFound(missing(MessageRecord).message)

    def collect(self) -> Iterable[Metric]:
        """Return the length of the queue, the answers that this process makes, and those that ended here."""
        queued = GaugeMetricFamily("jan_background_queued", "Background responses that wait, in the whole store")
        queued.add_metric([], self.length.all - self.length.held)
        running = GaugeMetricFamily("jan_background_running", "Background responses that this server makes")
        running.add_metric([], len(self.live))
        ended = CounterMetricFamily("jan_background_ended", "Background responses that ended", labels=["status"])
        for status, count in self.ended.items():
            ended.add_metric([status], count)
        return [queued, running, ended]

"""One answer that this process makes in the background: from its start, or from where it stopped, to its end."""

import asyncio
from time import perf_counter

import msgspec
import structlog

from jan.auth.credentials import check_scopes
from jan.auth.running import Permit
from jan.background.apis import BackgroundApi, PreparedAnswer
from jan.background.resumption import resumed
from jan.background.story import Story, story_of
from jan.background.story_recording import StoryRecording
from jan.engine.base import Failed, Queued
from jan.engine.call_ids import CallIds
from jan.errors import Conflict, InternalError, InvalidRequest, JanError, NotFound, Unavailable
from jan.generation.answering import Answering
from jan.generation.collected import CollectedCall
from jan.generation.hooks import HookContext
from jan.generation.pipeline import Run
from jan.generation.token_count import UsedTokens
from jan.idempotency.ids import IdSource
from jan.limits import Payer
from jan.schema.sampling import FinishReason
from jan.schema.scopes import Identity
from jan.schema.stored_items import AnyCall
from jan.services import Services
from jan.storage.queued_answers import QueuedAnswer
from jan.storage.records import MessageRecord, TokenUsage

log = structlog.get_logger(__name__)

# An answer that was begun so often without a new token ends its servers, as it seems.
_MOST_BARREN = 3
# Refusals that say nothing about the request: it is tried again later.
_PASSING = ("overloaded", "queue_timeout", "shutting_down", "storage_unavailable", "engine_stalled")


class BackgroundAnswer:
    """Makes one answer that this process holds.

    It ends early by ``end``, because its credential does; by ``pause``, because the server stops: somebody else
    goes on with it; and by ``lose``, because somebody else holds it or has ended it.
    """

    def __init__(self, services: Services, api: BackgroundApi | None, queued: QueuedAnswer) -> None:
        self._services = services
        self._queue = services.background
        self._api = api
        self.queued = queued
        self._story: Story | None = None
        self._run: Run | None = None
        self._task: asyncio.Task[None] | None = None
        self._ending: JanError | None = None
        self._paused = self._lost = False
        # True once the tokens of the run are to be charged: nobody goes on with the answer and charges them again.
        self._settles = False

    # --- from outside ---------------------------------------------------------------------------------

    def end(self, error: JanError) -> None:
        """End the answer with an error."""
        self._ending = self._ending or error
        self._cancel()

    def pause(self) -> None:
        """Stop making the answer, and leave the rest to somebody else."""
        self._paused = True
        self._cancel()

    def lose(self) -> None:
        """Stop making the answer, which somebody else holds or has ended."""
        self._lost = True
        self._cancel()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    # --- the whole of it ------------------------------------------------------------------------------

    async def carry_out(self) -> None:
        """Make the answer and store its end. Whatever happens, somebody can go on with it, if it has no end."""
        try:
            await self._to_its_end()
        except (NotFound, Conflict):
            self._lost = True  # its conversation was deleted, or somebody else holds it
        except Unavailable as error:
            # The lease ends by itself if the store does not answer.
            log.warning("background response left", message_id=self.queued.id, reason=error.message)
        finally:
            await self._settle()
            self._queue.live.end(self.queued.id)

    async def _to_its_end(self) -> None:
        message = await self._queue.read(self.queued.id)
        if story_of(message) is None or message.status != "streaming":
            await self._remove(message)
            return
        self._queue.live.begin(message)
        self._task = asyncio.current_task()
        try:
            if self._paused or self._lost:
                raise asyncio.CancelledError
            await self._make(message)
        except asyncio.CancelledError:
            await self._cut_short(message)
        except JanError as error:
            await self._failed(message, error)
        except Exception:
            log.exception("background response failed", message_id=self.queued.id)
            await self._failed(message, InternalError("The server failed to make this. Its log says why."))

    async def _cut_short(self, message: MessageRecord) -> None:
        """Do what is left to do after ``end``, ``pause`` or ``lose``."""
        task, self._task = self._task, None
        while task is not None and task.cancelling():
            task.uncancel()
        if self._lost:
            return
        if self._ending is not None:
            await self._failed(message, self._ending)
        else:
            await self._release()

    async def _release(self, *, later: bool = False) -> None:
        """Leave the rest to somebody else. ``later``: not at once."""
        charged = self.queued.charged
        if self._story is not None and self._run is not None:
            self._story.note(barren=0)
            await self._save(self._story.message())
            charged = self._story.record.usage
        await self._queue.release(self.queued, charged, later=later)
        self._settles = True

    async def _failed(self, message: MessageRecord, error: JanError) -> None:
        self._task = None
        if error.code == "lease_lost" or (isinstance(error, NotFound) and error.code == "not_found"):
            raise error
        if error.code in _PASSING and self._ending is None:
            await self._release(later=True)
            return
        story = self._story or Story(message, _no_call)
        story.note(error=Failed.without_headers(error))
        begun = story.text or story.reasoning or story.has_calls
        await self._conclude(story.message("partial" if begun else "failed"), "failed")

    # --- making it ------------------------------------------------------------------------------------

    async def _make(self, message: MessageRecord) -> None:
        services, queued = self._services, self.queued
        if self._api is None:
            raise InternalError(f"The API {queued.api} is not served any more.", code="endpoint_not_served")
        identity = await services.credentials.identity_of(
            queued.user_id, key_id=queued.key_id, session_id=queued.session_id, issued_at=queued.issued_at
        )
        permit = Permit(identity, queued.needs)
        check_scopes(identity, *queued.needs)
        services.running.add(self, permit)
        try:
            turn = await services.conversations.open_turn(
                queued.user_id,
                queued.conversation_id,
                (),
                parent_id=message.parent_id,
                named=False,
                ids=IdSource(),
            )
            prepared = await self._api.prepare(services, queued.request, message, identity, turn)
            self._story = Story(message, prepared.call_of)
            context = HookContext(request_id=queued.id, identity=identity, route=queued.route, api=queued.api)
            await self._generate(Answering(services, context, permit, perf_counter()), prepared, self._story)
        finally:
            services.running.remove(self)

    async def _generate(self, answering: Answering, prepared: PreparedAnswer, story: Story) -> None:
        if story.record.barren >= _MOST_BARREN:
            raise InternalError(
                f"The server ended {_MOST_BARREN} times while it began this response, which is given up.",
                code="background_given_up",
            )
        reason: FinishReason = "length"
        run = self._run = await self._start(answering, prepared, story)
        if run is not None:
            recording = StoryRecording(story, self._save, self._wait)
            self._note_start(run, story)
            await self._save(story.message())
            await recording.follow(run)
            reason = recording.reason
            usage = run.count.usage
            cached = min(usage.prompt_tokens_details.cached_tokens, story.record.prompt_tokens)
            story.note(
                tokens=usage.completion_tokens,
                cached_tokens=cached,
                reasoning_tokens=story.record.reasoning_tokens + usage.reasoning_tokens,
            )
        self._task = None
        status = "incomplete" if reason in ("length", "content_filter") else "completed"
        await self._conclude(story.message("complete", reason), status)

    async def _start(self, answering: Answering, prepared: PreparedAnswer, story: Story) -> Run | None:
        """Start a run that makes the rest; None if there is no rest."""
        asked = resumed(prepared.asked, story)
        if asked is None:
            return None
        try:
            return await answering.begin(asked, prepared.instead)
        except InvalidRequest:
            if not story.text:
                raise
        asked = resumed(prepared.asked, story, continues=False)
        assert asked is not None  # there is always something to make anew
        return await answering.begin(asked, prepared.instead)

    def _note_start(self, run: Run, story: Story) -> None:
        record, charged = story.record, self.queued.charged
        if record.begun:
            made = UsedTokens(prompt=record.prompt_tokens, completion=record.tokens)
            run.count.resume(made, _used(charged) if charged is not None else UsedTokens())
        story.note(
            begun=True,
            barren=record.barren + 1,
            prompt_tokens=run.count.prompt_tokens,
            call_ids=run.notes.call_ids,
        )

    def _wait(self, place: Queued) -> None:
        """Show a place in the model's queue to those who follow the answer."""
        live = self._queue.live.find(self.queued.id)
        if live is not None:
            live.wait(place)

    # --- the store ------------------------------------------------------------------------------------

    async def _save(self, message: MessageRecord) -> None:
        """Store a message, and then show it. While the store is away, it is tried again."""
        await self._queue.save(message)

    async def _conclude(self, message: MessageRecord, status: str) -> None:
        """Store the end of the answer, and take it out of the queue."""
        await self._save(message)
        self._queue.ended[status] += 1
        used = None if message.usage is None else msgspec.to_builtins(message.usage)
        log.info("background response", message_id=message.id, user=self.queued.user_id, status=status, used=used)
        if not await self._remove(message):
            self._lost = True

    async def _remove(self, message: MessageRecord) -> bool:
        """Take an answer that has its end out of the queue, and charge what no run of this process charges."""
        removed = self._settles = await self._queue.remove(self.queued)
        story = story_of(message)
        if removed and self._run is None and story is not None and story.tokens:
            self._charge(message, story.usage)
        return removed

    def _charge(self, message: MessageRecord, made: TokenUsage) -> None:
        charged = self.queued.charged or TokenUsage(prompt_tokens=0, completion_tokens=0)
        rest = UsedTokens(
            prompt=made.prompt_tokens - charged.prompt_tokens,
            completion=made.completion_tokens - charged.completion_tokens,
            rest=charged.prompt_tokens > 0,
        )
        owner = Identity(owner=self.queued.user_id, user_id=self.queued.user_id, key_id=self.queued.key_id)
        self._services.ledger.record(Payer(identity=owner, model=message.model or ""), rest)

    async def _settle(self) -> None:
        """Close the run. Its tokens are charged, unless somebody else goes on with the answer and charges them."""
        run, self._run = self._run, None
        if run is None:
            return
        if not self._settles and not (self._lost and await self._queue.has_ended(self.queued.id)):
            run.withdraw()
        await run.close()


def _used(usage: TokenUsage) -> UsedTokens:
    return UsedTokens(prompt=usage.prompt_tokens, completion=usage.completion_tokens)


def _no_call(_number: int, _call: CollectedCall, _call_ids: CallIds) -> AnyCall:
    raise AssertionError("A story that no model has begun has no new calls.")

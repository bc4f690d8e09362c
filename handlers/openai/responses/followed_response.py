"""The stream of a response that is made in the background: what is stored of it, and then what is added."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from handlers.openai.responses.shown_response import asked_response, encryption_of, shown_response
from handlers.openai.responses.told_blocks import ToldBlocks
from handlers.openai.responses.told_response import NumberedFrames, ToldResponse
from jan.auth.encrypted_texts import TextsOfOwner
from jan.engine.base import Queued
from jan.handler import AnswerQueue, EventStream, Renderer
from jan.schema.response_events import ResponseEvent
from jan.storage.records import MessageRecord


def followed(
    queue: AnswerQueue,
    answer: MessageRecord,
    texts: TextsOfOwner,
    *,
    after: int | None = None,
    renderer: Renderer | None = None,
) -> EventStream:
    """Return the stream of the events after a number; None: of all. With a renderer, it has blocks of HTML.

    ``texts``: the encrypted texts of the answer's owner.
    """
    blocks = None if renderer is None else ToldBlocks(renderer)
    known = -1 if after is None else after
    return EventStream(_events(queue, answer, texts, known, blocks), NumberedFrames(known))


async def _events(
    queue: AnswerQueue, answer: MessageRecord, texts: TextsOfOwner, after: int, blocks: ToldBlocks | None
) -> AsyncGenerator[list[ResponseEvent] | Queued, None]:
    told = ToldResponse(asked_response(answer), encryption_of(answer, texts))
    async with aclosing(queue.watch(answer)) as messages:
        async for message in messages:
            if isinstance(message, Queued):
                yield message
                continue
            has_ended = message.status != "streaming"
            events = told.news(message)
            if blocks is not None:
                yield [event for event in events if event.sequence_number > after]
                made = await blocks.after(events)
                yield [*made, *await blocks.rest()] if has_ended else made
                events = []
            if has_ended:
                events += told.end(message, shown_response(message, texts))
            yield [event for event in events if event.sequence_number > after]

"""Shows a stored answer as a response."""

from collections.abc import Callable
from functools import partial

import msgspec

from handlers.conversations.translate import usage_of_record
from handlers.openai.responses.item_ids import response_id
from handlers.openai.responses.response_translator import failure_of, incompleteness, usage_of
from handlers.openai.responses.shown_items import CUT, output_of, progress_status
from handlers.openai.responses.told_response import ToldResponse
from jan.auth.encrypted_texts import TextsOfOwner
from jan.background.story import StoryRecord, story_of
from jan.schema.responses import Response, ResponseError
from jan.storage.records import MessageRecord

#: The member of what is stored of a response whose reasoning is encrypted for its client.
ENCRYPTS = "encrypts"


def shown_response(answer: MessageRecord, texts: TextsOfOwner) -> Response:
    """Return a stored answer as a response. ``texts``: the encrypted texts of its owner."""
    response = asked_response(answer)
    story = story_of(answer)
    if story is None:
        response.output = output_of(answer)
    else:
        response.output = ToldResponse(response, encryption_of(answer, texts)).output(answer)
    response.status = progress_status(answer)
    if response.status == "completed":
        response.completed_at = int(answer.updated_at.timestamp())
    if answer.finish_reason in CUT:
        response.incomplete_details = incompleteness(answer.finish_reason)
    if answer.status == "failed":
        response.status = "failed"
        response.error = ResponseError(message="It ended before its first token.")
        response.output = []
    if answer.failure is not None:
        response.status, response.error = "failed", failure_of(answer.failure.error())
    usage = answer.usage
    if story is not None:
        _show_story(response, story)
        usage = usage or (story.usage if story.begun and answer.status != "streaming" else None)
    response.usage = None if usage is None else usage_of(usage_of_record(usage))
    return response


def encryption_of(answer: MessageRecord, texts: TextsOfOwner) -> Callable[[str], str] | None:
    """Return what encrypts the reasoning of a response for its client; None if that was not asked for."""
    return partial(texts.encrypt, "reasoning") if (answer.response or {}).get(ENCRYPTS) else None


def asked_response(answer: MessageRecord) -> Response:
    """Return a stored answer as a response without its output and end."""
    request = (answer.response or {}).get("request")
    if request is None:
        response = Response(
            id="",
            created_at=int(answer.created_at.timestamp()),
            status="completed",
            model=answer.model or "",
            reasoning={"effort": None, "summary": None},
            text={"format": {"type": "text"}, "verbosity": "medium"},
        )
    else:
        response = msgspec.convert(request, Response)
    response.id, response.kept = response_id(answer.id), True
    return response


def _show_story(response: Response, story: StoryRecord) -> None:
    """Set the state of a response that is made in the background."""
    if story.cancelled:
        response.status, response.error = "cancelled", None
    elif story.error is not None:
        response.status = "failed"
        response.error = failure_of(story.error.error())
    elif response.status == "in_progress" and not story.begun:
        response.status = "queued"

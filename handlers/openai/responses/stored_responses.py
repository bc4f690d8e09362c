"""GET and DELETE /responses/{response_id}, and the URLs below it."""

from contextlib import suppress

import msgspec

from handlers.conversations.translate import usage_of_record
from handlers.openai.responses.item_ids import message_id, response_id
from handlers.openai.responses.item_pages import page_of_items
from handlers.openai.responses.response_translator import incompleteness, usage_of
from handlers.openai.responses.shown_items import CUT, items_of, output_of, progress_status
from jan.errors import InvalidRequest, NotFound, Unavailable
from jan.handler import READ, WRITE, Handler
from jan.operation import operation
from jan.schema.responses import (
    DeletedResponse,
    InputItems,
    ItemsQuery,
    Response,
    ResponseError,
    StoredQuery,
)
from jan.storage.records import MessageRecord


class StoredResponses(Handler):
    """The base of all: finds a stored response."""

    async def answer_of(self, own: str) -> MessageRecord:
        """Return the stored answer that a response of the caller's is. Raises NotFound."""
        with suppress(NotFound):
            answer = await self.services.conversations.answer(self.user_id, message_id(own))
            if not answer.is_emptied:
                return answer
        raise NotFound(f"Response with id '{own[:64]}' not found.", code="response_not_found", param="response_id")

    async def question_of(self, answer: MessageRecord) -> list[MessageRecord]:
        """Return the messages of the request that an answer is for, oldest first."""
        shown = answer.response or {}
        count = shown.get("question", 1)
        return await self.services.conversations.question(self.user_id, answer, count) if count else []


class OneResponse(StoredResponses):
    """One of the stored responses."""

    @operation(
        summary="Get a response",
        access=READ,
        tag="inference",
        query=StoredQuery,
        response=Response,
        errors=(NotFound, Unavailable),
    )
    async def get(self, response_id: str, query: StoredQuery) -> Response:
        """Return a stored response. One that is being made has the output so far. Answers of chats that are stored
        in a conversation are responses too."""
        if query.stream:
            raise InvalidRequest(
                "stream: Only a response that runs in the background can be streamed again, and none does.",
                code="unsupported_parameter",
                param="stream",
            )
        return shown_response(await self.answer_of(response_id))

    @operation(
        summary="Delete a response",
        access=WRITE,
        tag="inference",
        response=DeletedResponse,
        errors=(NotFound, Unavailable),
    )
    async def delete(self, response_id: str) -> DeletedResponse:
        """Remove the content of a response and of its input. Their places in the conversation stay, for what
        follows them."""
        answer = await self.answer_of(response_id)
        await self.services.conversations.empty(self.user_id, [*await self.question_of(answer), answer])
        await self.services.idempotency.forget_about(answer.conversation_id)
        return DeletedResponse(id=response_id)


class ResponseInputItems(StoredResponses):
    """The input of a stored response."""

    @operation(
        summary="List the input of a response",
        access=READ,
        tag="inference",
        query=ItemsQuery,
        response=InputItems,
        errors=(NotFound, Unavailable),
    )
    async def get(self, response_id: str, query: ItemsQuery) -> InputItems:
        """List the items of the request that a response is for, newest first unless `order` is asc."""
        question = await self.question_of(await self.answer_of(response_id))
        items = [item for message in question for item in items_of(message)]
        return page_of_items(items, query)


class ResponseCancellation(StoredResponses):
    """The end of a response that runs in the background."""

    @operation(
        summary="Cancel a response",
        access=WRITE,
        tag="inference",
        response=Response,
        errors=(InvalidRequest, NotFound, Unavailable),
    )
    async def post(self, response_id: str) -> Response:
        """Refuse: no response runs in the background. Disconnect to end one."""
        await self.answer_of(response_id)
        raise InvalidRequest(
            "Cannot cancel a synchronous response. Disconnect to end one.",
            code="invalid_value",
            param="response_id",
        )


def shown_response(answer: MessageRecord) -> Response:
    """Return a stored answer as a response."""
    created = int(answer.created_at.timestamp())
    request = (answer.response or {}).get("request")
    if request is None:
        response = Response(
            id="",
            created_at=created,
            status="completed",
            model=answer.model or "",
            reasoning={"effort": None, "summary": None},
            text={"format": {"type": "text"}, "verbosity": "medium"},
        )
    else:
        response = msgspec.convert(request, Response)
    response.id, response.kept = response_id(answer.id), True
    response.output = output_of(answer)
    response.status = progress_status(answer)
    if response.status == "completed":
        response.completed_at = int(answer.updated_at.timestamp())
    if answer.finish_reason in CUT:
        response.incomplete_details = incompleteness(answer.finish_reason)
    if answer.status == "failed":
        response.status = "failed"
        response.error = ResponseError(message="It ended before its first token.")
        response.output = []
    response.usage = None if answer.usage is None else usage_of(usage_of_record(answer.usage))
    return response

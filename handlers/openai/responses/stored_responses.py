"""GET and DELETE /responses/{response_id}, and the URLs below it."""

from contextlib import suppress
from typing import Any

from handlers.openai.responses.followed_response import followed
from handlers.openai.responses.item_ids import message_id
from handlers.openai.responses.item_pages import page_of_items
from handlers.openai.responses.shown_items import items_of
from handlers.openai.responses.shown_response import shown_response
from handlers.openai.sampling import refused
from jan.auth.encrypted_texts import TextsOfOwner
from jan.background.story import story_of
from jan.errors import InvalidRequest, NotFound, Unavailable
from jan.handler import READ, WRITE, Handler
from jan.operation import operation
from jan.schema.response_events import ResponseEvent
from jan.schema.responses import DeletedResponse, InputItems, ItemsQuery, Response, StoredQuery
from jan.storage.records import MessageRecord
from jan.tasks import apart


class StoredResponses(Handler):
    """The base of all: finds a stored response."""

    @property
    def texts(self) -> TextsOfOwner:
        """The caller's encrypted texts."""
        return self.services.encrypted_texts.of(self.identity.owner)

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
        events=ResponseEvent,
        errors=(NotFound, Unavailable),
    )
    async def get(self, response_id: str, query: StoredQuery) -> Any:
        """Return a stored response. One that is being made has the output so far. Answers of chats that are stored
        in a conversation are responses too.

        With `stream`, send the events of a response that is made in the background: all, or those after the number
        `starting_after`, and then those to come. `include_html` adds its finished blocks as HTML."""
        answer = await self.answer_of(response_id)
        if query.stream:
            if story_of(answer) is None:
                raise InvalidRequest(
                    "stream: Only a response that was made with background can be streamed again.",
                    code="unsupported_parameter",
                    param="stream",
                )
            renderer = self.services.renderer if query.include_html else None
            queue, after = self.services.background, query.starting_after
            return followed(queue, answer, self.texts, after=after, renderer=renderer)
        for name, given in (("starting_after", query.starting_after), ("include_html", query.include_html)):
            if given is not None:
                raise refused(name, "Not allowed without stream.")
        return shown_response(answer, self.texts)

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
        if answer.status == "streaming" and story_of(answer) is not None:
            await self.services.background.cancel(answer)
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
        return await apart(
            len(question),
            lambda: page_of_items([item for message in question for item in items_of(message)], query),
        )


class ResponseCancellation(StoredResponses):
    """The early end of a response that is made in the background."""

    @operation(
        summary="Cancel a response",
        access=WRITE,
        tag="inference",
        response=Response,
        errors=(InvalidRequest, NotFound, Unavailable),
    )
    async def post(self, response_id: str) -> Response:
        """End a response that is made in the background, and return it. One that has ended stays as it is."""
        answer = await self.answer_of(response_id)
        if story_of(answer) is None:
            raise InvalidRequest(
                "Cannot cancel a synchronous response. Disconnect to end one.",
                code="invalid_value",
                param="response_id",
            )
        if answer.status == "streaming":
            answer = await self.services.background.cancel(answer)
        return shown_response(answer, self.texts)

"""GET /chat/completions, and the URLs below it: completions that were asked for with `store: true`."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET

from handlers.conversations.translate import usage_of_record
from handlers.openai.chat.completion_ids import completion_id_of, message_id_of
from handlers.openai.responses.item_pages import page_of_items
from jan.errors import InvalidRequest, NotFound, Unavailable
from jan.handler import READ, WRITE, Handler
from jan.operation import Example, operation
from jan.schema.chat_completion import AnswerMessage, CalledCustom, CalledFunction, ChatChoice
from jan.schema.completion_lists import (
    ChatCompletionList,
    CompletionListQuery,
    CompletionMessagesQuery,
    CompletionUpdate,
    DeletedCompletion,
    StoredChatCompletion,
)
from jan.schema.responses import InputItems, ItemsQuery
from jan.storage.records import MessageRecord, TokenUsage
from jan.tasks import apart

_DEFAULT_LIMIT = 20
_PREFIX, _SUFFIX = "metadata[", "]"


class CompletionCollection(Handler):
    """The stored completions of the caller."""

    @operation(
        summary="List stored chat completions",
        access=READ,
        tag="inference",
        query=CompletionListQuery,
        response=ChatCompletionList,
        errors=(Unavailable,),
    )
    async def get(self, query: CompletionListQuery) -> ChatCompletionList:
        """List completions that were asked for with `store: true` and are complete, oldest first unless `order` is
        desc. `metadata[key]=value` selects those with such metadata."""
        noted = self._metadata()
        after = None if query.after is None else message_id_of(query.after)
        if after is None and query.after is not None:
            raise InvalidRequest("after: This is no id of a completion.", code="invalid_value", param="after")

        def wanted(answer: MessageRecord) -> bool:
            of_model = query.model is None or answer.model == query.model
            return answer.status == "complete" and of_model and noted.items() <= metadata_of(answer).items()

        page = await self.services.completions.page(
            self.user_id,
            limit=query.limit or _DEFAULT_LIMIT,
            after=after,
            newest_first=query.order == "desc",
            wanted=wanted,
        )
        data = [shown_completion(answer) for answer in page.items]
        return ChatCompletionList(
            data=data,
            has_more=page.next_cursor is not None,
            first_id=data[0].id if data else None,
            last_id=data[-1].id if data else None,
        )

    def _metadata(self) -> dict[str, str]:
        """Return the metadata that completions must have. Raises InvalidRequest for an unknown parameter."""
        noted = {}
        for name, given in self.request.query_arguments.items():
            if name.startswith(_PREFIX) and name.endswith(_SUFFIX):
                noted[name.removeprefix(_PREFIX).removesuffix(_SUFFIX)] = given[-1].decode(errors="replace")
            elif name not in CompletionListQuery.__struct_fields__:
                allowed = ", ".join([*CompletionListQuery.__struct_fields__, "metadata[key]"])
                raise InvalidRequest(
                    f"Unknown query parameter '{name[:64]}'; allowed: {allowed}.",
                    code="invalid_value",
                    param=name[:64],
                )
        return noted


class _OfOneCompletion(Handler):
    """Finds a stored completion of the caller."""

    async def answer_of(self, completion_id: str) -> MessageRecord:
        """Return the answer of a stored completion. Raises NotFound."""
        own = message_id_of(completion_id)
        try:
            return await self.services.completions.get(self.user_id, own or "")
        except NotFound:
            raise _not_found(completion_id) from None

    async def complete_answer_of(self, completion_id: str) -> MessageRecord:
        """Return the answer of a stored completion that is complete. Raises NotFound."""
        answer = await self.answer_of(completion_id)
        if answer.status != "complete":
            raise _not_found(completion_id)
        return answer


class OneCompletion(_OfOneCompletion):
    """One of the stored completions."""

    @operation(
        summary="Get a stored chat completion",
        access=READ,
        tag="inference",
        response=StoredChatCompletion,
        errors=(NotFound, Unavailable),
    )
    async def get(self, completion_id: str) -> StoredChatCompletion:
        """Return a completion that was asked for with `store: true` and is complete."""
        return shown_completion(await self.complete_answer_of(completion_id))

    @operation(
        summary="Change a stored chat completion",
        access=WRITE,
        tag="inference",
        request=CompletionUpdate,
        response=StoredChatCompletion,
        errors=(NotFound, Unavailable),
        examples=(Example(summary="Other metadata", body={"metadata": {"project": "garden"}}),),
    )
    async def post(self, completion_id: str, body: CompletionUpdate) -> StoredChatCompletion:
        """Replace the metadata of a completion."""
        answer = await self.complete_answer_of(completion_id)
        changed = await self.services.completions.set_metadata(self.user_id, answer, body.metadata or {})
        return shown_completion(changed)

    @operation(
        summary="Delete a stored chat completion",
        access=WRITE,
        tag="inference",
        response=DeletedCompletion,
        errors=(NotFound, Unavailable),
    )
    async def delete(self, completion_id: str) -> DeletedCompletion:
        """Remove the content of a completion and of the question that was stored with it. A conversation that was
        made for it, and has nothing else, is deleted."""
        answer = await self.answer_of(completion_id)
        await self.services.completions.delete(self.user_id, answer)
        await self.services.idempotency.forget_about(answer.conversation_id)
        return DeletedCompletion(id=completion_id)


class CompletionMessages(_OfOneCompletion):
    """The question of a stored completion."""

    @operation(
        summary="List the messages of a stored chat completion",
        access=READ,
        tag="inference",
        query=CompletionMessagesQuery,
        response=InputItems,
        errors=(NotFound, Unavailable),
    )
    async def get(self, completion_id: str, query: CompletionMessagesQuery) -> InputItems:
        """List the messages of the request that a completion answers, oldest first unless `order` is desc."""
        question = await self.services.completions.question(self.user_id, await self.answer_of(completion_id))
        wanted = ItemsQuery(limit=query.limit, order=query.order or "asc", after=query.after)
        return await apart(
            len(question), lambda: page_of_items([_shown_message(message) for message in question], wanted)
        )


def metadata_of(answer: MessageRecord) -> Mapping[str, str]:
    """Return the metadata of a stored completion."""
    noted: Mapping[str, str] = (answer.response or {}).get("metadata", {})
    return noted


def shown_completion(answer: MessageRecord) -> StoredChatCompletion:
    """Return a stored answer as a completion."""
    reasoning = answer.reasoning or UNSET
    content = answer.content if isinstance(answer.content, str) else None
    message = AnswerMessage(content=content, reasoning_content=reasoning, reasoning=reasoning)
    if answer.tool_calls:
        message.tool_calls = msgspec.convert(answer.tool_calls, list[CalledFunction | CalledCustom])
    reason: Any = answer.finish_reason or "stop"
    return StoredChatCompletion(
        id=completion_id_of(answer.id),
        created=int(answer.created_at.timestamp()),
        model=answer.model or "",
        choices=[ChatChoice(index=0, message=message, finish_reason=reason)],
        usage=usage_of_record(answer.usage or TokenUsage(prompt_tokens=0, completion_tokens=0)),
        metadata=dict(metadata_of(answer)),
    )


def _shown_message(message: MessageRecord) -> dict[str, Any]:
    parts = message.content if isinstance(message.content, list) else None
    shown: dict[str, Any] = {
        "id": message.id,
        "role": message.role,
        "content": None if parts is not None else message.content,
        "content_parts": parts,
    }
    if message.tool_calls:
        shown["tool_calls"] = message.tool_calls
    if message.reasoning:
        shown["reasoning_content"] = message.reasoning
    if message.tool_call_id is not None:
        shown["tool_call_id"] = message.tool_call_id
    return shown


def _not_found(completion_id: str) -> NotFound:
    return NotFound(
        f"Chat completion with id '{completion_id[:64]}' not found.",
        code="completion_not_found",
        param="completion_id",
    )

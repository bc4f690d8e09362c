"""Serves a conversation's messages: .../{conversation_id}/messages, .../{conversation_id}/export, .../import."""

from collections.abc import Sequence
from contextlib import aclosing

import msgspec
from msgspec import UNSET

from handlers.conversations.translate import (
    conversation_from_wire,
    conversation_to_wire,
    exported,
    exported_conversation,
    message_from_wire,
    message_to_wire,
    messages_to_wire,
)
from jan.errors import Conflict, InvalidRequest, NotFound, Unavailable
from jan.handler import Handler
from jan.operation import Example, operation
from jan.schema.conversations import (
    Conversation,
    ConversationMessage,
    ExportedConversation,
    ExportedMessage,
    ExportImportQuery,
    ExportLine,
    MessageCreate,
    MessageList,
    MessageListQuery,
)
from jan.schema.scopes import READ, WRITE
from jan.schema.stored_items import items_made_of
from jan.storage.records import MessageRecord

JSONL = "application/jsonl"

_EXPORTED = (
    '{"object":"conversation","id":"1","title":"A greeting","model":null,"metadata":{},"created_at":1767225600,'
    '"updated_at":1767225602,"head_id":"b","message_count":2,"version":2}\n'
    '{"object":"conversation.message","id":"a","conversation_id":"1","parent_id":null,"sequence":1,'
    '"role":"user","items":[{"type":"text","text":"Hello!"}],"status":"complete","created_at":1767225600,"updated_at":1767225600}\n'
    '{"object":"conversation.message","id":"b","conversation_id":"1","parent_id":"a","sequence":2,'
    '"role":"assistant","items":[{"type":"text","text":"Hi!"}],"status":"complete","created_at":1767225602,"updated_at":1767225602}\n'
)


class MessageCollection(Handler):
    """The messages of a conversation."""

    @operation(
        summary="Append a message",
        access=WRITE,
        tag="conversations",
        request=MessageCreate,
        creates=True,
        response=ConversationMessage,
        errors=(NotFound, Conflict, Unavailable),
        examples=(
            Example(summary="A question", body={"role": "user", "content": "How do I grow tomatoes?"}),
            Example(
                summary="At the root of a tree of its own",
                body={"role": "system", "content": "Be brief.", "parent_id": None},
            ),
        ),
    )
    async def post(self, conversation_id: str, body: MessageCreate) -> ConversationMessage:
        """Append a message below the one appended last, or below `parent_id`. If that message has an answer
        already, this begins a branch; nothing is ever overwritten. With an `id` of your own a request can be
        repeated safely."""
        message = MessageRecord(
            id=self.mint.new_id("msg") if body.id is UNSET else body.id,
            conversation_id=conversation_id,
            parent_id=None if body.parent_id is UNSET else body.parent_id,
            role=body.role,
            items=items_made_of(
                msgspec.to_builtins(body.content),
                reasoning=body.reasoning_content,
                tool_calls=msgspec.to_builtins(body.tool_calls),
                tool_call_id=body.tool_call_id,
                is_result=body.role == "tool",
            ),
            model=body.model,
        )
        at_head = body.parent_id is UNSET
        stored = await self.services.conversations.append(self.user_id, message, at_head=at_head)
        return message_to_wire(stored)

    @operation(
        summary="List messages",
        access=READ,
        tag="conversations",
        query=MessageListQuery,
        response=MessageList,
        errors=(NotFound, Unavailable),
    )
    async def get(self, conversation_id: str, query: MessageListQuery) -> MessageList:
        """List the messages of all branches in the order in which they were appended, or the reverse, a page at a
        time: `next_cursor` of one page is the `cursor` of the next."""
        page = await self.services.conversations.messages(
            self.user_id,
            conversation_id,
            limit=query.limit,
            cursor=query.cursor,
            newest_first=query.order == "desc",
        )
        return messages_to_wire(page)


class Export(Handler):
    """A conversation as a file."""

    @operation(
        summary="Export a conversation",
        access=READ,
        tag="conversations",
        media_type=JSONL,
        errors=(NotFound, Unavailable),
    )
    async def get(self, conversation_id: str) -> None:
        """Return the conversation and its messages as lines of JSON, in the order in which they were appended.
        /conversations/import takes them. What a message says is a list of `items`: text, parts, reasoning, calls,
        the result of a call."""
        found, batches = await self.services.conversations.export(self.user_id, conversation_id)
        self.set_header("Content-Type", JSONL)
        self.set_header("Content-Disposition", f'attachment; filename="{found.id}.jsonl"')
        self._write_lines([exported_conversation(found)])
        async with aclosing(batches):
            async for messages in batches:
                self._write_lines([exported(message) for message in messages])
                await self.flush()
        self.finish()

    def _write_lines(self, lines: Sequence[ExportLine]) -> None:
        self.write(msgspec.json.Encoder().encode_lines(lines))


class Import(Handler):
    """A conversation from a file."""

    @operation(
        summary="Import a conversation",
        access=WRITE,
        tag="conversations",
        request=ExportLine,
        request_media_type=JSONL,
        query=ExportImportQuery,
        response=Conversation,
        creates=True,
        errors=(Conflict, Unavailable),
        examples=(Example(summary="A conversation of two messages", body=_EXPORTED),),
    )
    async def post(self, body: list[ExportLine], query: ExportImportQuery) -> Conversation:
        """Make the caller's own copy of an exported conversation, with new identifiers and the same times. Send
        all lines of the export, be it of this version or of an earlier one, whose messages have no `items`. With
        `once`, a conversation that the caller has already, or has imported so, is a 409 `already_exists`."""
        first, rest = next(iter(body), None), body[1:]
        messages = [line for line in rest if isinstance(line, ExportedMessage)]
        if not isinstance(first, ExportedConversation) or len(messages) < len(rest):
            raise _damaged("the conversation's own line must come first, then its messages, and nothing else")
        if len(messages) != first.message_count:
            raise _damaged(f"there are {len(messages)} messages; its first line says {first.message_count}")
        # Without `once`, another copy may have the origin already.
        exported = first if query.once else msgspec.structs.replace(first, origin=UNSET)
        stored = await self.services.conversations.restore(
            self.user_id,
            conversation_from_wire(exported, self.user_id),
            map(message_from_wire, messages),
            self.mint,
            once=query.once,
        )
        return conversation_to_wire(stored)


def _damaged(why: str) -> InvalidRequest:
    return InvalidRequest(f"This is not an exported conversation: {why}.", code="invalid_export")

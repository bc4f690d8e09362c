"""Conversations, as handlers work with them: the one way to the records of conversations and messages."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import suppress

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from jan.conversations.additions import added_to, amounts_with
from jan.conversations.exported_batches import EXPORTED_AT_ONCE, exported_batches
from jan.conversations.history import check_message
from jan.conversations.import_runs import ImportRun
from jan.conversations.imports import Imports
from jan.conversations.opening import Opening, first_place
from jan.conversations.ranked_search import SearchPage, search
from jan.conversations.restored import copy_of, first_copy
from jan.conversations.titles import give_title, may_be_made_of
from jan.conversations.turn import Turn
from jan.conversations.user_folders import Folders
from jan.errors import Conflict, JanError, NotFound, Unavailable
from jan.idempotency.ids import IdSource
from jan.schema import messages as chat
from jan.schema.import_reports import ForeignKind
from jan.storage.conversation_lists import EVERYTHING, ListFilter
from jan.storage.holdings import amounts_of
from jan.storage.records import ConversationChanges, ConversationRecord, MessageRecord, Page
from jan.storage.repositories import Store
from jan.tasks import Tasks, apart

_CLOSE_SECONDS = 5.0
# Messages that are read at a time when a whole conversation is.
_BATCH = 200


class Conversations:
    """The conversations of all users. Every method may raise Unavailable; NotFound stands for another's too."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tasks = Tasks()
        self.folders = Folders(store)

    async def close(self) -> None:
        """Let answers under way be stored as far as they are. Call it before the store is closed."""
        await self._tasks.close(_CLOSE_SECONDS)

    # --- conversations ------------------------------------------------------------------------------

    async def create(self, conversation: ConversationRecord, ids: IdSource) -> ConversationRecord:
        """Store a new conversation whose id is from ``ids``; an earlier attempt at it counts as this one."""
        return await ids.make(
            conversation,
            self._store.conversations.create,
            lambda: self._store.conversations.get(conversation.user_id, conversation.id),
        )

    async def get(self, user_id: str, conversation_id: str) -> ConversationRecord:
        """Return one conversation without its messages; raises NotFound."""
        return await self._store.conversations.get(user_id, conversation_id)

    async def page(
        self, user_id: str, *, limit: int, cursor: str | None = None, among: ListFilter = EVERYTHING
    ) -> Page[ConversationRecord]:
        """Return one page of a user's conversations, changed last first. Raises InvalidRequest for a malformed
        cursor."""
        return await self._store.conversations.page(user_id, limit=limit, cursor=cursor, among=among)

    async def update(self, user_id: str, conversation_id: str, changes: ConversationChanges) -> ConversationRecord:
        """Set what ``changes`` names and return the conversation; raises NotFound.

        Changes that set nothing leave its time of change as it was.
        """
        if changes == ConversationChanges():
            return await self.get(user_id, conversation_id)
        return await self._store.conversations.update(user_id, conversation_id, replace(changes, unnamed=False))

    async def search(self, user_id: str, query: str, *, limit: int, cursor: str | None = None) -> SearchPage:
        """Return one page of what a user's titles and messages have of a query, the most relevant first. Raises
        InvalidRequest for a query without words, and for a malformed cursor."""
        return await search(self._store, user_id, query, limit=limit, cursor=cursor)

    async def delete(self, user_id: str, conversation_id: str) -> None:
        """Remove a conversation and all its messages; raises NotFound."""
        await self._store.conversations.delete(user_id, conversation_id)

    # --- messages -----------------------------------------------------------------------------------

    async def messages(
        self,
        user_id: str,
        conversation_id: str,
        *,
        limit: int,
        cursor: str | None = None,
        newest_first: bool = False,
    ) -> Page[MessageRecord]:
        """Return one page of the messages of all branches, in the order in which they were appended or the
        reverse; raises NotFound, and InvalidRequest for a malformed cursor."""
        return await self._store.messages.page(
            user_id, conversation_id, limit=limit, cursor=cursor, newest_first=newest_first
        )

    async def append(self, user_id: str, message: MessageRecord, *, at_head: bool) -> MessageRecord:
        """Check and store a message, below ``parent_id`` or, with ``at_head``, below the message appended last.

        The first user message gives the conversation its title, unless it has one. Raises NotFound, Conflict, and
        InvalidRequest for a message that no model could get.
        """
        check_message(message)
        conversation = await self._store.conversations.get(user_id, message.conversation_id)
        stored = await self._store.messages.append(user_id, message, at_head=at_head)
        if not conversation.title:
            await give_title(self._store, user_id, conversation.id)
        if conversation.unnamed:
            await self.name(user_id, conversation.id)
        return stored

    async def name(self, user_id: str, conversation_id: str) -> None:
        """Note that somebody named a conversation, which is not deleted by its age then. Raises NotFound."""
        await self._store.conversations.update(user_id, conversation_id, ConversationChanges(unnamed=False))

    async def create_with(
        self, conversation: ConversationRecord, messages: Sequence[chat.Message], ids: IdSource
    ) -> ConversationRecord:
        """Store a new conversation that begins with messages, and return it: all of it or nothing.

        Raises InvalidRequest for a message that can't be kept, and RateLimited beyond the user's quota.
        """
        user_id = conversation.user_id
        records = await added_to(conversation.id, messages, ids)
        if not ids.again:
            await self._store.holdings.check(user_id, amounts_with(records))
        await self.create(conversation, ids)
        try:
            await self._append_all(user_id, records, ids)
        except Unavailable:
            raise  # the outcome is unknown
        except JanError:
            with suppress(JanError):
                await self._store.conversations.delete(user_id, conversation.id)
            raise
        return await self.get(user_id, conversation.id)

    async def add(
        self, user_id: str, conversation_id: str, messages: Sequence[chat.Message], ids: IdSource
    ) -> list[MessageRecord]:
        """Store messages below the one appended last, each below the one before it: all or none; return them.

        Raises NotFound, InvalidRequest for a message that can't be kept, and RateLimited beyond the user's quota.
        """
        conversation = await self.get(user_id, conversation_id)
        records = await added_to(conversation_id, messages, ids)
        if records:
            await self._append_all(user_id, records, ids)
        if conversation.unnamed:
            await self.name(user_id, conversation_id)
        return records

    async def _append_all(self, user_id: str, records: Sequence[MessageRecord], ids: IdSource) -> None:
        try:
            await self._store.messages.append_all(user_id, records, at_head=True)
        except Conflict:
            if not ids.again:  # otherwise an earlier attempt stored them
                raise
        await give_title(self._store, user_id, records[0].conversation_id)

    async def path(self, user_id: str, conversation_id: str) -> list[MessageRecord]:
        """Return the messages from the root down to the one appended last. Raises NotFound."""
        return await self._store.messages.history(user_id, conversation_id)

    # --- turns of a chat ----------------------------------------------------------------------------

    async def open_turn(
        self,
        user_id: str,
        conversation_id: str,
        messages: Sequence[chat.Message],
        *,
        parent_id: str | UnsetType | None = UNSET,
        message_id: str | None = None,
        named: bool = True,
        ids: IdSource,
    ) -> Turn:
        """Read and check all that a question of these messages needs. It is stored when its answer begins.

        The first goes below ``parent_id``; UNSET is the message appended last, None begins a tree. The last gets
        ``message_id``. Without messages, the one at ``parent_id`` is answered again. A question whose ids are from
        ``ids`` may be stored already. ``named``: the request names the conversation. Raises NotFound,
        InvalidRequest and Conflict, all with ``param``.
        """
        ids.concern(conversation_id)
        if message_id is None and messages and ids.repeatable:
            message_id = ids.new_id("msg")
        opening = Opening(self._store, user_id, conversation_id)
        place = replace(await opening.place_of(messages, parent_id, message_id), named=named)
        return await apart(len(place.before), lambda: Turn(self._store, self._tasks, place))

    async def open_first_turn(
        self, conversation: ConversationRecord, messages: Sequence[chat.Message], ids: IdSource
    ) -> Turn:
        """Check a question that begins a conversation, whose id is from ``ids``. Both are stored when its answer
        begins, unless an earlier attempt stored them.

        Raises InvalidRequest with ``param``.
        """
        user_id, message_id = conversation.user_id, ids.new_id("msg") if ids.repeatable else None
        if ids.again:
            with suppress(NotFound):
                return await self.open_turn(
                    user_id,
                    conversation.id,
                    messages,
                    parent_id=None,
                    message_id=message_id,
                    named=False,
                    ids=ids,
                )
        place = await first_place(conversation, messages, message_id)
        return await apart(len(messages), lambda: Turn(self._store, self._tasks, place))

    async def answer(self, user_id: str, message_id: str) -> MessageRecord:
        """Return an answer of any of the user's conversations. Raises NotFound."""
        found = await self._store.archive.matching(MessageRecord, [message_id])
        for message in found:
            if message.role == "assistant":
                await self._store.conversations.get(user_id, message.conversation_id)
                return message
        raise NotFound("No answer with this id.")

    async def among(self, user_id: str, message_ids: Sequence[str]) -> list[MessageRecord]:
        """Return those of these messages that are in conversations of the user, in any order."""
        found = await self._store.archive.matching(MessageRecord, message_ids)
        own: set[str] = set()
        for conversation_id in {message.conversation_id for message in found}:
            with suppress(NotFound):
                own.add((await self._store.conversations.get(user_id, conversation_id)).id)
        return [message for message in found if message.conversation_id in own]

    async def question(self, user_id: str, answer: MessageRecord, count: int) -> list[MessageRecord]:
        """Return the ``count`` messages above an answer, oldest first. Raises NotFound."""
        path = await self._store.messages.history(
            user_id, answer.conversation_id, message_id=answer.id, limit=count + 1
        )
        return path[:-1]

    async def empty(self, user_id: str, messages: Sequence[MessageRecord]) -> None:
        """Remove the content of messages of one conversation, which keep their places in the tree.

        A title that was made of one of them goes too, and those that shares of the conversation show. Raises
        NotFound.
        """
        conversation = await self.get(user_id, messages[0].conversation_id)
        await self._store.messages.empty(user_id, conversation.id, [message.id for message in messages])
        if any(may_be_made_of(conversation.title, one) for one in messages if one.role == "user"):
            await self._store.conversations.update(user_id, conversation.id, ConversationChanges(title=""))
        await self._store.shares.blank_titles(conversation.id)

    # --- export and import --------------------------------------------------------------------------

    async def export(
        self, user_id: str, conversation_id: str
    ) -> tuple[ConversationRecord, AsyncGenerator[list[MessageRecord], None]]:
        """Return a conversation, and its messages in batches, in the order in which they were appended.

        Messages that are appended meanwhile are left out. The first batch is read before this returns, so that
        NotFound and Unavailable are raised here rather than in the middle of an answer.
        """
        conversation = await self._store.conversations.get(user_id, conversation_id)
        first = await self._store.messages.page(user_id, conversation_id, limit=EXPORTED_AT_ONCE)
        return conversation, exported_batches(self._store, conversation, first)

    async def restore(
        self,
        user_id: str,
        conversation: ConversationRecord,
        messages: Iterable[MessageRecord],
        ids: IdSource,
        *,
        once: bool = False,
    ) -> ConversationRecord:
        """Store a copy of an exported conversation, with identifiers from ``ids``, and return it.

        The copy becomes visible as a whole or not at all, also if the client leaves. Raises InvalidRequest for
        messages that are no tree in order, or that no model could get, and RateLimited beyond the user's quota.
        ``once``: raises Conflict if the user has the conversation, or a copy that was made so.
        """
        if once:
            conversation = await first_copy(self._store, user_id, conversation, ids)
        copy, copies = await asyncio.to_thread(lambda: copy_of(user_id, conversation, list(messages), ids))
        if not ids.again:
            await self._store.holdings.check(user_id, amounts_of(copy))
        return await asyncio.shield(self._tasks.start(Imports(self._store, self.create).store(copy, copies, ids)))

    def foreign_import(
        self, user_id: str, source: ForeignKind | None, *, most_named: int | None = None
    ) -> ImportRun:
        """Return an import of a file of another application for this user; None is any that is known. Of what is
        left out, at most ``most_named`` items are named."""
        return ImportRun(self._store, self.restore, user_id, source, most_named)

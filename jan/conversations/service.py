"""What handlers do with conversations beyond the store's own operations."""

from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec
from msgspec import UNSET, UnsetType

from jan.conversations.history import check, from_chat, says_something, title_of, to_chat
from jan.conversations.stored_answer import KeptAnswer
from jan.errors import InvalidRequest, JanError, NotFound
from jan.idempotency.ids import IdSource
from jan.schema import messages as chat
from jan.schema.chat import ConversationPlace
from jan.storage.records import AnswerProgress, ConversationRecord, MessageRecord, now
from jan.storage.repositories import Store
from jan.tasks import Tasks

_replace = msgspec.structs.replace
_CLOSE_SECONDS = 5.0
# Among so many messages is the first of a user's, if a title is to be made of it.
_OPENING = 5
# As many messages as a request may have.
_LONGEST_PATH = 4096
_BATCH = 200


class Turn:
    """A question that is stored and an answer to come. ``messages`` is what the model gets."""

    def __init__(self, store: Store, tasks: Tasks, user_id: str, path: list[MessageRecord]) -> None:
        self._store = store
        self._tasks = tasks
        self._user_id = user_id
        self.conversation_id = path[-1].conversation_id
        self.parent_id = path[-1].id
        self.messages = tuple(to_chat(message) for message in path if says_something(message))

    def answer(self, model: str, progress: Callable[[], AnswerProgress]) -> KeptAnswer:
        """The answer that is now made; it is not in the store before it begins."""
        message = MessageRecord(
            conversation_id=self.conversation_id,
            parent_id=self.parent_id,
            role="assistant",
            content="",
            status="streaming",
            model=model,
        )
        return KeptAnswer(self._store, self._tasks, self._user_id, message, progress)

    def place_of(self, answer: KeptAnswer) -> ConversationPlace:
        """Where the answer is, for its client."""
        return ConversationPlace(
            id=self.conversation_id, message_id=answer.message.id, parent_message_id=self.parent_id
        )


class Conversations:
    """Conversations over a store. Every method raises NotFound for another user's."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tasks = Tasks()

    async def close(self) -> None:
        """Keep what there is of the answers under way; the store is closed after this."""
        await self._tasks.close(_CLOSE_SECONDS)

    async def append(self, user_id: str, message: MessageRecord, *, at_head: bool) -> MessageRecord:
        """Append as the store does, after a check of the message; a first one gives the title."""
        check(message)
        conversation = await self._store.conversations.get(user_id, message.conversation_id)
        stored = await self._store.messages.append(user_id, message, at_head=at_head)
        if not conversation.title:
            # The message is durable: a title that can't be set now must not make it look as if it were not.
            with suppress(JanError):
                await self._give_title(user_id, message.conversation_id)
        return stored

    async def _give_title(self, user_id: str, conversation_id: str) -> None:
        # From what is stored, not from what was appended just now: so that writers at once agree.
        opening = await self._store.messages.page(user_id, conversation_id, limit=_OPENING)
        titles = (title_of(message) for message in opening.items if message.role == "user")
        if title := next(filter(None, titles), ""):
            await self._store.conversations.give_title(user_id, conversation_id, title)

    async def begin_turn(
        self,
        user_id: str,
        conversation_id: str,
        messages: Sequence[chat.Message],
        *,
        parent_id: str | UnsetType | None = UNSET,
        message_id: str | None = None,
    ) -> Turn:
        """Append the messages, one below the other, and return when they are durable.

        The first goes below ``parent_id`` (UNSET: the conversation's last message; None: it begins a tree).
        The last gets ``message_id``. Without messages, the one at ``parent_id`` is answered again.
        """
        new = [check(from_chat(message, conversation_id)) for message in messages]
        if new and new[-1].role == "assistant":
            raise _nothing_to_answer()
        if message_id is not None:
            ids = [*(f"{message_id}.{number}" for number in range(1, len(new))), message_id]
            new = [_replace(message, id=own) for message, own in zip(new, ids, strict=True)]
        await self._check_place(user_id, conversation_id, parent_id)
        at = parent_id
        for message in new:
            below = None if at is UNSET else at
            at = (await self.append(user_id, _replace(message, parent_id=below), at_head=at is UNSET)).id
        return Turn(self._store, self._tasks, user_id, await self._path(user_id, conversation_id, at))

    async def _check_place(self, user_id: str, conversation_id: str, parent_id: str | UnsetType | None) -> None:
        try:
            await self._store.conversations.get(user_id, conversation_id)
        except NotFound as error:
            raise NotFound(error.message, param="conversation_id") from None
        if isinstance(parent_id, str):
            try:
                await self._store.messages.get(user_id, conversation_id, parent_id)
            except NotFound as error:
                raise NotFound(error.message, param="parent_message_id") from None

    async def _path(self, user_id: str, conversation_id: str, at: str | UnsetType | None) -> list[MessageRecord]:
        """All messages from the root down to the one to answer."""
        path: list[MessageRecord] = []
        if at is not None:
            start = None if at is UNSET else at
            path = await self._store.messages.history(
                user_id, conversation_id, message_id=start, limit=_LONGEST_PATH
            )
        if not path or path[-1].role == "assistant":
            raise _nothing_to_answer()
        if path[0].parent_id is not None:
            raise InvalidRequest(
                f"the conversation is longer than {_LONGEST_PATH} messages from its root to this one; begin "
                "another, or a branch nearer to the root",
                code="context_length_exceeded",
                param="conversation_id",
            )
        return path

    async def restore(
        self, user_id: str, conversation: ConversationRecord, messages: Sequence[MessageRecord], mint: IdSource
    ) -> ConversationRecord:
        """Store a copy of an exported conversation under new identifiers; raises InvalidRequest for messages
        that are no tree in order. It is seen as a whole or not at all."""
        ids = _new_ids(messages, mint)
        at, conversation_id = now(), mint.new_id("conv")
        copies = [
            _replace(
                check(message),
                id=ids[message.id],
                conversation_id=conversation_id,
                parent_id=None if message.parent_id is None else ids[message.parent_id],
                # An answer that was under way when it was exported goes no further here.
                status="partial" if message.status == "streaming" else message.status,
            )
            for message in messages
        ]
        copy = _replace(
            conversation,
            id=conversation_id,
            user_id=user_id,
            updated_at=min(conversation.updated_at, at),
            head_id=copies[-1].id if copies else None,
            message_count=len(copies),
        )
        # Messages of a conversation that is not there are never seen: so it comes last.
        for start in range(0, len(copies), _BATCH):
            batch = copies[start : start + _BATCH]
            if mint.again:
                stored = await self._store.archive.matching(MessageRecord, [message.id for message in batch])
                known = {message.id for message in stored}
                batch = [message for message in batch if message.id not in known]
            await self._store.archive.insert(MessageRecord, batch)
        return await mint.make(
            copy,
            self._store.conversations.create,
            lambda: self._store.conversations.get(user_id, conversation_id),
        )


def _new_ids(messages: Sequence[MessageRecord], mint: IdSource) -> dict[str, str]:
    """A new identifier for each; InvalidRequest if the messages are not in order, parents first."""
    ids: dict[str, str] = {}
    for number, message in enumerate(messages, 1):
        fault = None
        if message.sequence != number:
            fault = f"sequence is {message.sequence}, not {number}"
        elif message.id in ids:
            fault = "its id is another's too"
        elif message.parent_id is not None and message.parent_id not in ids:
            fault = "its parent does not come before it"
        if fault is not None:
            raise InvalidRequest(f"line {number + 1}: {fault}", code="invalid_export")
        ids[message.id] = mint.new_id("msg")
    return ids


def _nothing_to_answer() -> InvalidRequest:
    return InvalidRequest(
        "messages: the last message is none to answer; send one that is not the assistant's, or name one with "
        "parent_message_id",
        code="invalid_value",
        param="messages",
    )

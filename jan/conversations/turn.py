"""One turn of a chat in a conversation: the history and the question, read and checked, and the answer to come."""

from collections.abc import Callable, Collection
from contextlib import suppress

from jan.conversations.history import has_content, to_chat
from jan.conversations.opening import Place
from jan.conversations.stored_answer import KeptAnswer
from jan.conversations.titles import give_title
from jan.errors import Conflict, InvalidRequest, JanError
from jan.schema.chat import ConversationPlace
from jan.schema.messages import Message
from jan.schema.stored_items import JsonObject, items_made_of
from jan.storage.records import AnswerProgress, ConversationChanges, MessageRecord, new_id
from jan.storage.repositories import Store
from jan.tasks import Tasks


class Turn:
    """A question in a conversation. Nothing of it is stored before its answer begins.

    Attributes:
        parent_id: the message that the answer goes below, which is the question's last one.
        history: the stored messages before the question, without those that the model does not get.
        new: the messages of the question that are not stored yet.
        left_out: ids of the stored messages that the model can't get, oldest first.
    """

    def __init__(self, store: Store, tasks: Tasks, place: Place) -> None:
        self._store = store
        self._tasks = tasks
        self._place = place
        self._conversation = place.conversation
        self.parent_id = place.parent_id
        self.new = tuple(place.new)
        self._read = {message.id: _read(message) for message in place.before if has_content(message)}
        self.history = [message for message in place.before if message.id in self._read]
        self.left_out: list[str] = []
        self.leave_out({own for own, message in self._read.items() if message is None})

    @property
    def above(self) -> MessageRecord | None:
        """The stored message that the question follows."""
        return self._place.before[-1] if self._place.before else None

    @property
    def is_first(self) -> bool:
        """True if the conversation begins with this turn."""
        return self._place.is_new

    @property
    def messages(self) -> tuple[Message, ...]:
        """All stored messages that the model gets: the history, and a question that is answered again."""
        again = self._place.asked_again
        before = [message for own in self.history if (message := self._read[own.id]) is not None]
        return tuple(before if again is None else [*before, to_chat(again)])

    def leave_out(self, ids: Collection[str]) -> None:
        """Take messages out of the history."""
        left_out = {*ids, *self.left_out}
        self.left_out = [message.id for message in self._place.before if message.id in left_out]
        self.history = [message for message in self.history if message.id not in ids]

    def answer(
        self,
        model: str,
        progress: Callable[[], AnswerProgress],
        response: JsonObject | None = None,
        answer_id: str | None = None,
    ) -> KeptAnswer:
        """Prepare to store question and answer; neither is in the store before the answer's ``begin``.

        ``response``: what an API needs to show the answer again. ``answer_id``: the id of the message, if it is
        chosen already.
        """
        message = self.begun_answer(model, response, answer_id)
        return KeptAnswer(self._store, self._tasks, self._conversation.user_id, message, progress, self.append)

    def begun_answer(self, model: str, response: JsonObject | None, answer_id: str | None) -> MessageRecord:
        """Return the message of an answer that begins. It is not stored yet."""
        return MessageRecord(
            id=answer_id or new_id("msg"),
            conversation_id=self._conversation.id,
            parent_id=self.parent_id,
            role="assistant",
            items=items_made_of(""),
            status="streaming",
            model=model,
            response=response,
        )

    async def append(self, answer: MessageRecord) -> None:
        """Store the question and the beginning of its answer. Raises Conflict if somebody else stored it first."""
        store, conversation = self._store, self._conversation
        if self._place.is_new:
            await store.conversations.create(conversation)
        try:
            await store.messages.append_all(conversation.user_id, [*self.new, answer])
        except Conflict:
            raise Conflict(
                "Another request with this message_id was faster. Its answer is in the conversation.",
                param="message_id",
                headers={"x-should-retry": "false"},
            ) from None
        except JanError:
            if self._place.is_new:
                with suppress(JanError):
                    await store.conversations.delete(conversation.user_id, conversation.id)
            raise
        if self.new and not conversation.title:
            await give_title(store, conversation.user_id, conversation.id)
        if conversation.unnamed and self._place.named:
            named = ConversationChanges(unnamed=False)
            await store.conversations.update(conversation.user_id, conversation.id, named)

    def place_of(self, answer: KeptAnswer) -> ConversationPlace:
        """Return where in the conversation the answer is, for its client."""
        return ConversationPlace(
            id=self._conversation.id, message_id=answer.message.id, parent_message_id=self.parent_id
        )


def _read(message: MessageRecord) -> Message | None:
    """Return a message as a model gets it; None for content that no model could get, which is not stored today."""
    try:
        return to_chat(message)
    except InvalidRequest:
        return None

"""One turn of a chat in a conversation: the stored question, and the answer to come."""

from collections.abc import Callable

from jan.conversations.history import has_content, to_chat
from jan.conversations.stored_answer import KeptAnswer
from jan.schema.chat import ConversationPlace
from jan.storage.records import AnswerProgress, MessageRecord
from jan.storage.repositories import Store
from jan.tasks import Tasks


class Turn:
    """A question that is stored and an answer to come. ``messages`` is the history that the model gets."""

    def __init__(self, store: Store, tasks: Tasks, user_id: str, path: list[MessageRecord]) -> None:
        self._store = store
        self._tasks = tasks
        self._user_id = user_id
        self.conversation_id = path[-1].conversation_id
        self.parent_id = path[-1].id
        self.messages = tuple(to_chat(message) for message in path if has_content(message))

    def answer(self, model: str, progress: Callable[[], AnswerProgress]) -> KeptAnswer:
        """Prepare to store the answer; it is not in the store before its ``begin``."""
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
        """Return where in the conversation the answer is, for its client."""
        return ConversationPlace(
            id=self.conversation_id, message_id=answer.message.id, parent_message_id=self.parent_id
        )

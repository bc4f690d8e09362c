"""One conversation of the chat: what was said, kept here, and by the server for users it knows."""

from collections.abc import Generator
from contextlib import closing
from typing import Any

import msgspec

from jan.cli.chat.answer_reader import AnswerPart
from jan.cli.chat.chat_client import ChatClient, SaidMessage
from jan.cli.chat.chat_failures import ChatError


class ChatConversation:
    """A conversation with a model, which can be begun anew, or be another that the server keeps.

    Attributes:
        model: the name of the model that is asked next.
        said: the messages so far, without the instructions of ``system``.
        id: that of the conversation on the server; '' if there is none yet.
        stored: True if the server keeps what is said.
    """

    def __init__(self, client: ChatClient, model: str, *, system: str = "", stored: bool = False) -> None:
        self.model = model
        self.stored = stored
        self.system = system
        self.said: list[SaidMessage] = []
        self.id = ""
        self._client = client
        # The last question, if it has no answer.
        self._open: SaidMessage | None = None
        # True for a conversation that was made here, and that nothing was said in.
        self._empty = False

    def ask(self, question: str) -> Generator[AnswerPart, None, None]:
        """Yield the answer to a question. A question without an answer is forgotten. Raises ChatError."""
        yield from self._answered(SaidMessage(role="user", content=question), [])

    def retry(self) -> Generator[AnswerPart, None, None]:
        """Yield another answer to the last question, in place of the one that it has. Raises ChatError."""
        if self._open is not None:
            yield from self._answered(self._open, [])
            return
        asked = [at for at, message in enumerate(self.said) if message.role == "user"]
        if not asked:
            raise ChatError("There is no question to ask again.", kind="nothing_to_retry")
        replaced = self.said[asked[-1] :]
        del self.said[asked[-1] :]
        yield from self._answered(replaced[0], replaced)

    def begin_anew(self, system: str | None = None) -> None:
        """Begin another conversation, with other instructions unless they are None."""
        self.close()
        self.said, self.id, self._open = [], "", None
        if system is not None:
            self.system = system

    def go_to(self, conversation_id: str, *, keep_model: bool = False) -> str:
        """Continue a conversation that the server keeps, with its model unless another is to be kept.

        Returns its title. Raises ChatError.
        """
        found, said = self._client.conversation(conversation_id)
        self.begin_anew(system="")
        self.id, self.said = found.id, said
        self.model = self.model if keep_model else found.model or self.model
        if said and said[0].role in ("system", "developer"):
            self.system = said[0].content
        return found.title

    def close(self) -> None:
        """Leave the conversation. One that was made here is deleted if nothing was said in it."""
        if self._empty:
            self._client.forget_conversation(self.id)
            self._empty = False

    def _answered(self, question: SaidMessage, replaced: list[SaidMessage]) -> Generator[AnswerPart, None, None]:
        """Yield the parts of an answer and remember it. ``replaced``: what is said instead if there is none."""
        self._open = question
        answer = ""
        answer_id = ""
        try:
            yield from self._made_ready()
            with closing(self._client.answer(self._request(question))) as parts:
                for part in parts:
                    answer += part.text
                    if part.place is not None:
                        self._empty = False
                        answer_id = part.place.message_id
                        question = msgspec.structs.replace(question, id=part.place.parent_message_id)
                    yield part
        finally:
            if answer:
                self.said += [question, SaidMessage(role="assistant", content=answer, id=answer_id)]
                self._open = None
            else:
                self.said += replaced
                self._open = None if replaced else question

    def _made_ready(self) -> Generator[AnswerPart, None, None]:
        """Make the conversation on the server. Yields a note if the key may not."""
        if not self.stored or self.id:
            return
        try:
            self.id = self._client.begin_conversation(self.model)
            self._empty = True
        except ChatError as error:
            if error.status != 403:
                raise
            self.stored = False
            yield AnswerPart(note="The server does not keep this conversation: the key may not write.")

    def _request(self, question: SaidMessage) -> dict[str, Any]:
        own = {"role": question.role, "content": question.content}
        first = [{"role": "system", "content": self.system}] if self.system else []
        if not self.id:
            before = [{"role": message.role, "content": message.content} for message in self.said]
            return {"model": self.model, "messages": [*first, *before, own]}
        asked: dict[str, Any] = {"model": self.model, "conversation_id": self.id}
        if question.id:
            return {**asked, "messages": [], "parent_message_id": question.id}
        below = self.said[-1].id if self.said else None
        messages = [own] if self.said else [*first, own]
        return {**asked, "messages": messages, "parent_message_id": below}

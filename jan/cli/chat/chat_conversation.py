"""One conversation of the chat: what was said, kept here, and by the server for users it knows."""

from collections.abc import Generator
from contextlib import closing
from typing import Any
from uuid import uuid4

import msgspec

from jan.cli.chat.answer_reader import AnswerPart, without_oldest
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
        # A summary of an earlier conversation, as an item of the Responses API.
        self._summary: list[dict[str, Any]] = []
        # False for a server that keeps conversations, and has no responses.
        self._has_responses = True

    @property
    def has_question(self) -> bool:
        """True if the last question has no answer."""
        return self._open is not None

    def ask(self, question: str) -> Generator[AnswerPart, None, None]:
        """Yield the answer to a question. A question without an answer is forgotten. Raises ChatError."""
        yield from self._answered(SaidMessage(role="user", content=question), [])

    def retry(self, *, short: bool = False) -> Generator[AnswerPart, None, None]:
        """Yield another answer to the last question, in place of the one that it has. ``short``: the model gets
        no more of the conversation than fits. Raises ChatError."""
        if self._open is not None:
            yield from self._answered(self._open, [], short=short)
            return
        asked = [at for at, message in enumerate(self.said) if message.role == "user"]
        if not asked:
            raise ChatError("There is no question to ask again.", kind="nothing_to_retry")
        replaced = self.said[asked[-1] :]
        del self.said[asked[-1] :]
        yield from self._answered(replaced[0], replaced, short=short)

    def begin_anew(self, system: str | None = None) -> None:
        """Begin another conversation, with other instructions unless they are None."""
        self.close()
        self.said, self.id, self._open, self._summary = [], "", None, []
        if system is not None:
            self.system = system

    def begin_with_summary(self) -> None:
        """Begin another conversation with a summary of this one. A question without an answer comes along.

        Raises ChatError.
        """
        if not self.said:
            raise ChatError("Nothing was said that could be summed up.", kind="nothing_to_sum_up")
        messages = [{"role": message.role, "content": message.content} for message in self.said]
        summary = self._client.summary(self.model, [*self._summary, *messages])
        question = self._open
        self.begin_anew()
        self._summary = [summary]
        self._open = None if question is None else msgspec.structs.replace(question, id="")

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

    def _answered(
        self, question: SaidMessage, replaced: list[SaidMessage], *, short: bool = False
    ) -> Generator[AnswerPart, None, None]:
        """Yield the parts of an answer and remember it. ``replaced``: what is said instead if there is none."""
        self._open = question
        answer = ""
        answer_id = ""
        try:
            yield from self._made_ready()
            with closing(self._parts(question, short=short)) as parts:
                for part in parts:
                    answer = part.added_to(answer)
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

    def _parts(self, question: SaidMessage, *, short: bool) -> Generator[AnswerPart, None, None]:
        """Yield the parts of an answer, made in the background if it is stored."""
        if self.id and self._has_responses:
            own_id = question.id or str(uuid4())
            try:
                yield from self._client.response(self._stored_request(question, own_id, short=short), own_id)
                return
            except ChatError as error:
                # Chats tell it better if it is the conversation that is unknown.
                if error.status not in (404, 405) or self._summary or short:
                    raise
                self._has_responses = False
        yield from self._fitting(question) if short and not self.id else self._asked(question, self.said)

    def _fitting(self, question: SaidMessage) -> Generator[AnswerPart, None, None]:
        """Yield an answer for which the oldest messages are left out, as many as it takes."""
        left_out = 0
        while True:
            parts = self._asked(question, self.said[left_out:])
            try:
                first = next(parts)
            except ChatError as error:
                if error.kind != "context_length_exceeded" or left_out == len(self.said):
                    raise
                left_out = min(len(self.said), 2 * left_out or 2)
                continue
            if left_out:
                yield AnswerPart(note=without_oldest(left_out))
            yield first
            yield from parts
            return

    def _asked(self, question: SaidMessage, said: list[SaidMessage]) -> Generator[AnswerPart, None, None]:
        """Ask without the background."""
        own = {"role": question.role, "content": question.content}
        first = [{"role": "system", "content": self.system}] if self.system else []
        if not self.id:
            before = [{"role": message.role, "content": message.content} for message in said]
            messages = [*first, *before, own]
            if self._summary:
                body = {"model": self.model, "input": [*self._summary, *messages], "store": False}
                yield from self._client.response(body, "")
            else:
                yield from self._client.answer({"model": self.model, "messages": messages})
            return
        asked: dict[str, Any] = {"model": self.model, "conversation_id": self.id}
        if question.id:
            asked |= {"messages": [], "parent_message_id": question.id}
        else:
            below = self.said[-1].id if self.said else None
            asked |= {"messages": [own] if self.said else [*first, own], "parent_message_id": below}
        yield from self._client.answer(asked)

    def _stored_request(self, question: SaidMessage, own_id: str, *, short: bool) -> dict[str, Any]:
        asked: dict[str, Any] = {"model": self.model, "conversation": self.id, "background": True}
        if short:
            asked["truncation"] = "auto"
        if question.id:
            return {**asked, "parent_message_id": question.id}
        own = {"role": question.role, "content": question.content}
        first = [{"role": "system", "content": self.system}] if self.system else []
        items = [own] if self.said else [*first, *self._summary, own]
        below = self.said[-1].id if self.said else None
        return {**asked, "input": items, "message_id": own_id, "parent_message_id": below}

"""Responses that follow stored ones, and are stored themselves, as turns of a conversation."""

from collections.abc import Awaitable, Callable
from types import MappingProxyType

import msgspec
from msgspec import UNSET

from handlers.conversations.translate import usage_record
from handlers.openai.chat.unservable import unservable
from handlers.openai.responses.chat_request import ChatRequestOfResponse, conversation_of
from handlers.openai.responses.item_ids import message_id, response_id
from handlers.openai.responses.response_translator import ResponseTranslator
from handlers.openai.turn_keeper import TurnKeeper
from jan.background.story import story_of
from jan.engine.base import ChatPrompt, Engine
from jan.errors import Conflict, InvalidRequest, JanError, NotFound
from jan.handler import (
    CollectedAnswer,
    CollectedAnswers,
    KeptAnswer,
    ModelRequest,
    Services,
    TokenCount,
    Turn,
)
from jan.idempotency.ids import IdSource
from jan.schema.messages import Message
from jan.schema.open_body import header_value
from jan.schema.responses import PromptOfResponse, ResponseRequest
from jan.schema.sampling import Usage
from jan.schema.stored_items import JsonObject
from jan.storage.records import AnswerProgress, ConversationRecord


def follows(body: PromptOfResponse) -> bool:
    """Return True if stored messages precede those of the request."""
    return bool(body.previous_response_id or body.conversation)


# Params of errors, by what they are called here.
_PARAMS = MappingProxyType(
    {
        "conversation_id": "conversation",
        "parent_message_id": "previous_response_id",
    }
)


class ResponseKeeper(TurnKeeper):
    """Keeps one response. ``stores``: it is stored; otherwise it only follows what is. ``engine_of``: returns the
    engine of a model."""

    def __init__(
        self,
        turn: Turn,
        asked: ModelRequest,
        translated: ChatRequestOfResponse,
        translator: ResponseTranslator,
        engine_of: Callable[[str], Awaitable[Engine]],
        *,
        stores: bool,
        set_header: Callable[[str, str], None],
    ) -> None:
        super().__init__(turn, asked.model)
        self._own = asked
        self._translated = translated
        self._translator = translator
        self._engine_of = engine_of
        self._stores = stores
        self._set_header = set_header

    @property
    def asked(self) -> ModelRequest:
        """The request with the stored messages between its instructions and its items."""
        return after(self.turn, self._own, self._translated)

    async def instead(self, error: InvalidRequest) -> ModelRequest | None:
        """Return the request without stored messages that the model can never get; else, if it is too long and
        may be cut, without its oldest ones. None if that does not help."""
        engine = await self._engine_of(self._own.model)
        if ids := await unservable(engine, self.turn, error, self._translated.instructed):
            self.turn.leave_out(ids)
            return self.asked
        if error.code != "context_length_exceeded" or self._translator.response.truncation != "auto":
            return None
        history = self.turn.history
        if not history:
            return None
        # Half of them at a time, so that a long conversation takes few attempts.
        self.turn.leave_out({message.id for message in history[: (len(history) + 1) // 2]})
        return self.asked

    async def begin(self, answers: CollectedAnswers) -> None:
        """Store the question and the beginning of the answer, if the response is stored."""
        if self._stores:
            await super().begin(answers)
        self.name_left_out()

    def name_left_out(self) -> None:
        """Name in a header the stored messages that the model does not get."""
        if self.turn.left_out:
            self._set_header("X-Jan-Left-Out", header_value(self.turn.left_out))

    def placed(self, kept: KeptAnswer) -> None:
        """Give the response the id of its stored answer."""
        self._translator.response.id = response_id(kept.message.id)
        self._set_header("X-Jan-Message-Id", kept.message.id)

    def shown(self) -> JsonObject:
        """Return the response without output, and how many messages its question has."""
        response = msgspec.to_builtins(self._translator.response)
        return {"request": response, "question": len(self.turn.new)}

    def progress_of(self, answer: CollectedAnswer, usage: Usage | None) -> AnswerProgress:
        """Make the store's form of the answer so far, or of the complete answer if ``usage`` is given."""
        return AnswerProgress(
            items=self._translator.stored_items(answer),
            status="streaming" if usage is None else "complete",
            finish_reason=None if usage is None else answer.reason,
            usage=None if usage is None else usage_record(usage),
        )

    async def finish(self, count: TokenCount) -> None:
        """Store the complete answer, if the response is stored."""
        if self._stores:
            await super().finish(count)

    async def failed(self, error: JanError) -> None:
        """Store the answer as far as it is, if the response is stored."""
        if self._stores:
            await super().failed(error)


def _split(
    asked: ModelRequest, translated: ChatRequestOfResponse
) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    """Return the instructions and the other messages of a request, which a hook may have changed."""
    [sequence] = asked.sequences
    assert isinstance(sequence.prompt, ChatPrompt)  # made from a chat completion request
    messages = sequence.prompt.messages
    instructions, _ = translated.split_messages()
    count = len(instructions)
    if [type(message) for message in messages[:count]] != [type(message) for message in instructions]:
        count = 0
    return messages[:count], messages[count:]


def after(turn: Turn, asked: ModelRequest, translated: ChatRequestOfResponse) -> ModelRequest:
    """Return a request with the stored messages of a turn between its instructions and its items."""
    instructions, sent = _split(asked, translated)
    before = turn.messages
    translated.name_places(len(before))
    [sequence] = asked.sequences
    prompt = sequence.prompt
    assert isinstance(prompt, ChatPrompt)  # made from a chat completion request
    prompt = msgspec.structs.replace(prompt, messages=(*instructions, *before, *sent))
    return msgspec.structs.replace(asked, sequences=(msgspec.structs.replace(sequence, prompt=prompt),))


async def turn_of(
    services: Services, user_id: str, body: PromptOfResponse, translated: ChatRequestOfResponse, mint: IdSource
) -> Turn:
    """Read and check what precedes a response. Nothing is stored yet.

    Raises NotFound, InvalidRequest and Conflict, with ``param``.
    """
    conversation = conversation_of(body)
    if body.previous_response_id and conversation:
        raise InvalidRequest(
            "previous_response_id: Not allowed together with conversation.",
            code="invalid_value",
            param="previous_response_id",
        )
    _, sent = translated.split_messages()
    conversations = services.conversations
    if body.previous_response_id:
        previous = message_id(body.previous_response_id)
        try:
            answer = await conversations.answer(user_id, previous)
        except NotFound:
            raise _no_previous(body.previous_response_id) from None
        if answer.is_emptied:
            raise _no_previous(body.previous_response_id)
        turn = conversations.open_turn(
            user_id, answer.conversation_id, sent, parent_id=answer.id, named=False, ids=mint
        )
    elif conversation:
        turn = conversations.open_turn(
            user_id,
            conversation,
            sent,
            parent_id=body.parent_message_id,
            message_id=body.message_id if isinstance(body, ResponseRequest) else None,
            ids=mint,
        )
    else:
        record = ConversationRecord(id=mint.new_id("conv"), user_id=user_id, model=body.model, unnamed=True)
        turn = conversations.open_first_turn(record, sent, mint)
    try:
        opened = await turn
    except JanError as error:
        if body.parent_message_id is UNSET or error.param != "parent_message_id":
            error.param = _PARAMS.get(error.param or "", error.param)
        raise
    if not mint.again:  # then the answer above may be that of the first attempt
        _check_ended(opened, "previous_response_id" if body.previous_response_id else "conversation")
    return opened


def _check_ended(turn: Turn, param: str) -> None:
    """Refuse what follows a response that is still made in the background: nobody knows what it will say."""
    above = turn.above
    if above is not None and above.status == "streaming" and story_of(above) is not None:
        raise Conflict(
            f"Response '{response_id(above.id)}' is still made in the background. Wait for its end, or cancel it.",
            code="response_in_progress",
            param=param,
        )


def _no_previous(own: str) -> NotFound:
    return NotFound(
        f"Previous response with id '{own[:64]}' not found.",
        code="previous_response_not_found",
        param="previous_response_id",
    )

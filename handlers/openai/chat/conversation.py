"""Chat completions within a stored conversation."""

from collections.abc import Callable

import msgspec
from msgspec import UNSET

from handlers.conversations.translate import usage_record
from handlers.openai.chat.chunks import ChatTranslator
from handlers.openai.chat.completion_ids import message_id_of
from handlers.openai.chat.unservable import name_own_message, unservable
from handlers.openai.sampling import refused
from handlers.openai.turn_keeper import TurnKeeper
from jan.engine.base import ChatPrompt, Engine, GenerationRequest
from jan.errors import InvalidRequest
from jan.handler import (
    CollectedAnswer,
    KeptAnswer,
    ModelRequest,
    Services,
    Turn,
)
from jan.idempotency.ids import IdSource
from jan.schema.chat import ChatCompletionRequest
from jan.schema.messages import AssistantMessage
from jan.schema.open_body import header_value
from jan.schema.sampling import Usage
from jan.schema.stored_items import JsonObject, items_made_of
from jan.storage.records import AnswerProgress, ConversationRecord


def check_alone(body: ChatCompletionRequest) -> None:
    """Refuse parameters that need a conversation if there is none. Raises InvalidRequest."""
    if not body.messages:
        raise refused("messages", "Expected `array` of length >= 1.")
    for name in ("parent_message_id", "message_id"):
        if getattr(body, name) not in (UNSET, None):
            raise refused(name, "Not allowed without conversation_id.")


async def open_turn(
    services: Services,
    user_id: str,
    body: ChatCompletionRequest,
    translator: ChatTranslator,
    set_header: Callable[[str, str], None],
    mint: IdSource,
    asked: ModelRequest,
) -> tuple[ModelRequest, "StoredAnswer"]:
    """Check everything that can be wrong with the request but what only the engine knows.

    Returns the request with the conversation so far, and its keeper. Nothing is stored yet.
    """
    if body.n is not None and body.n != 1:
        raise refused("n", "An answer that is stored is the only one; allowed: 1.")
    if body.functions or body.function_call not in (None, "none"):
        raise refused("functions", "Not allowed with conversation_id or store. Use tools, whose calls are kept.")
    if body.message_id is not None and not body.messages:
        raise refused("message_id", "Not allowed without messages.")
    if body.messages and isinstance(body.messages[-1], AssistantMessage):
        raise refused(
            "messages",
            "There is no message to answer. Send one that is not the assistant's, or name one with "
            "parent_message_id.",
        )
    engine = await services.models.engine(asked.model)
    keeper = StoredAnswer(await _turn_of(services, user_id, body, mint), asked, engine, translator, set_header)
    keeper.repeatable = mint.repeatable or body.message_id is not None
    keeper.answer_id = message_id_of(translator.completion_id)
    if body.keeps:
        keeper.completion = {"completion_of": user_id, "metadata": body.metadata or {}}
    return keeper.asked, keeper


async def _turn_of(services: Services, user_id: str, body: ChatCompletionRequest, mint: IdSource) -> Turn:
    conversations = services.conversations
    if body.conversation_id is None:
        record = ConversationRecord(id=mint.new_id("conv"), user_id=user_id, model=body.model)
        return await conversations.open_first_turn(record, body.messages, mint)
    return await conversations.open_turn(
        user_id,
        body.conversation_id,
        body.messages,
        parent_id=body.parent_message_id,
        message_id=body.message_id,
        ids=mint,
    )


def _after(turn: Turn, request: GenerationRequest) -> GenerationRequest:
    """Return the request with the stored messages of a turn before its own."""
    prompt = request.prompt
    assert isinstance(prompt, ChatPrompt)  # made from a chat completion request
    before = turn.messages
    prompt = msgspec.structs.replace(prompt, messages=(*before, *prompt.messages), stored_messages=len(before))
    return msgspec.structs.replace(request, prompt=prompt)


class StoredAnswer(TurnKeeper):
    """Keeps the answer to a chat completion request. ``completion``: what makes it a stored completion."""

    completion: JsonObject | None = None

    def __init__(
        self,
        turn: Turn,
        asked: ModelRequest,
        engine: Engine,
        translator: ChatTranslator,
        set_header: Callable[[str, str], None],
    ) -> None:
        super().__init__(turn, asked.model)
        self._own = asked
        self._engine = engine
        self._translator = translator
        self._set_header = set_header

    @property
    def asked(self) -> ModelRequest:
        """The request with the stored messages of the conversation."""
        sequences = tuple(_after(self.turn, sequence) for sequence in self._own.sequences)
        return msgspec.structs.replace(self._own, sequences=sequences)

    async def instead(self, error: InvalidRequest) -> ModelRequest | None:
        """Return the request without stored messages that the model can never get, None if there are none.

        A refusal that stands then names the request's own message, whatever precedes it in the conversation.
        """
        ids = await unservable(self._engine, self.turn, error)
        if not ids:
            name_own_message(error, len(self.turn.messages))
            return None
        self.turn.leave_out(ids)
        return self.asked

    def placed(self, kept: KeptAnswer) -> None:
        """Tell the client where the answer is stored, and what of the conversation the model did not get."""
        self._translator.place = self.turn.place_of(kept)
        self._set_header("X-Jan-Message-Id", kept.message.id)
        if self.turn.left_out:
            self._set_header("X-Jan-Left-Out", header_value(self.turn.left_out))

    def shown(self) -> JsonObject | None:
        """Return what a stored completion needs: its metadata, and what was stored with it."""
        if self.completion is None:
            return None
        return {**self.completion, "question": len(self.turn.new), "begins": self.turn.is_first}

    def progress_of(self, answer: CollectedAnswer, usage: Usage | None) -> AnswerProgress:
        """Make the store's form of the answer so far, or of the complete answer if ``usage`` is given."""
        choice = self._translator.choice(0, answer)
        message = choice.message
        return AnswerProgress(
            items=items_made_of(
                message.content,
                reasoning=message.reasoning_content or None,
                tool_calls=msgspec.to_builtins(message.tool_calls or None),
            ),
            status="streaming" if usage is None else "complete",
            finish_reason=None if usage is None else choice.finish_reason,
            usage=None if usage is None else usage_record(usage),
        )

"""Chat completions within a stored conversation."""

from collections.abc import Callable
from functools import partial

import msgspec
from msgspec import UNSET

from handlers.conversations.translate import usage_record
from handlers.openai.chat.chunks import ChatTranslator
from handlers.openai.chat.unservable import name_own_message, unservable
from jan.engine.base import ChatPrompt, Engine, GenerationRequest
from jan.errors import InvalidRequest, JanError
from jan.handler import (
    CollectedAnswer,
    CollectedAnswers,
    KeptAnswer,
    ModelRequest,
    Services,
    TokenCount,
    Turn,
)
from jan.schema.chat import ChatCompletionRequest
from jan.schema.open_body import header_value
from jan.schema.sampling import Usage
from jan.storage.records import AnswerProgress


def check_alone(body: ChatCompletionRequest) -> None:
    """Refuse parameters that need a conversation if there is none. Raises InvalidRequest."""
    if not body.messages:
        raise _refusal("messages: Expected `array` of length >= 1.", "messages")
    for name in ("parent_message_id", "message_id"):
        if getattr(body, name) not in (UNSET, None):
            raise _refusal(f"{name}: Not allowed without conversation_id.", name)


async def open_turn(
    services: Services,
    user_id: str,
    body: ChatCompletionRequest,
    translator: ChatTranslator,
    set_header: Callable[[str, str], None],
    asked: ModelRequest,
) -> tuple[ModelRequest, "StoredAnswer"]:
    """Check everything that can be wrong with the request but what only the engine knows.

    Returns the request with the conversation so far, and its keeper. Nothing is stored yet.
    """
    if body.n is not None and body.n != 1:
        raise _refusal("n: A conversation has one answer at a time; allowed: 1.", "n")
    if body.functions or body.function_call not in (None, "none"):
        raise _refusal(
            "functions: Not allowed with conversation_id. Use tools, whose calls it keeps.", "functions"
        )
    if body.message_id is not None and not body.messages:
        raise _refusal("message_id: Not allowed without messages.", "message_id")
    engine = await services.models.engine(asked.model)
    turn = await services.conversations.open_turn(
        user_id,
        body.conversation_id or "",
        body.messages,
        parent_id=body.parent_message_id,
        message_id=body.message_id,
    )
    keeper = StoredAnswer(turn, asked, engine, translator, set_header)
    keeper.repeatable = body.message_id is not None
    return keeper.asked, keeper


def _after(turn: Turn, request: GenerationRequest) -> GenerationRequest:
    """Return the request with the stored messages of a turn before its own."""
    prompt = request.prompt
    assert isinstance(prompt, ChatPrompt)  # made from a chat completion request
    before = turn.messages
    prompt = msgspec.structs.replace(prompt, messages=(*before, *prompt.messages), stored_messages=len(before))
    return msgspec.structs.replace(request, prompt=prompt)


class StoredAnswer:
    """Stores the question of a turn once the engine has accepted it, and the answer while it is generated.

    ``repeatable``: the request can be sent again as it is, and its messages are still stored once.
    """

    def __init__(
        self,
        turn: Turn,
        asked: ModelRequest,
        engine: Engine,
        translator: ChatTranslator,
        set_header: Callable[[str, str], None],
    ) -> None:
        self.repeatable = False
        self._turn = turn
        self._own = asked
        self._engine = engine
        self._translator = translator
        self._set_header = set_header
        self._answer: CollectedAnswer | None = None
        self._kept: KeptAnswer | None = None

    @property
    def asked(self) -> ModelRequest:
        """The request with the stored messages of the conversation."""
        sequences = tuple(_after(self._turn, sequence) for sequence in self._own.sequences)
        return msgspec.structs.replace(self._own, sequences=sequences)

    async def instead(self, error: InvalidRequest) -> ModelRequest | None:
        """Return the request without stored messages that the model can never get, None if there are none.

        A refusal that stands then names the request's own message, whatever precedes it in the conversation.
        """
        ids = await unservable(self._engine, self._turn, error)
        if not ids:
            name_own_message(error, len(self._turn.messages))
            return None
        self._turn.leave_out(ids)
        return self.asked

    async def begin(self, answers: CollectedAnswers) -> None:
        """Store the question and the beginning of the answer."""
        self._answer = answers.answers[0]
        kept = self._turn.answer(self._own.model, partial(_progress, self._translator, self._answer))
        await kept.begin()
        self._kept = kept
        self._translator.place = self._turn.place_of(kept)
        self._set_header("X-Jan-Message-Id", kept.message.id)
        if self._turn.left_out:
            self._set_header("X-Jan-Left-Out", header_value(self._turn.left_out))

    async def failed(self, error: JanError) -> None:
        """Say which message can be answered again, and that SDKs must not store it twice by a retry.

        Returns once the answer is stored as far as it is, if the store is there.
        """
        headers = {"X-Jan-Parent-Message-Id": self._turn.parent_id}
        if not self.repeatable:
            headers["x-should-retry"] = "false"
        error.headers = {**error.headers, **headers}
        self.leave()
        assert self._kept is not None  # it has begun
        await self._kept.ended()

    async def finish(self, count: TokenCount) -> None:
        """Store the complete answer."""
        assert self._kept is not None  # it has begun
        assert self._answer is not None
        await self._kept.finish(_progress(self._translator, self._answer, count.usage))

    def leave(self) -> None:
        """Store the answer as far as it is, unless it was finished."""
        if self._kept is not None and self._answer is not None:
            self._kept.leave("partial" if _has_begun(self._answer) else "failed")


def _has_begun(answer: CollectedAnswer) -> bool:
    """Return True if an answer has its first token, be it of its reasoning."""
    return bool(answer.text or answer.reasoning or answer.calls)


def _progress(translator: ChatTranslator, answer: CollectedAnswer, usage: Usage | None = None) -> AnswerProgress:
    """Make the store's form of the answer so far, or of the complete answer if ``usage`` is given."""
    choice = translator.choice(0, answer)
    message = choice.message
    return AnswerProgress(
        content=message.content,
        status="streaming" if usage is None else "complete",
        tool_calls=msgspec.to_builtins(message.tool_calls) if message.tool_calls else None,
        finish_reason=None if usage is None else choice.finish_reason,
        usage=None if usage is None else usage_record(usage),
    )


def _refusal(message: str, param: str) -> InvalidRequest:
    return InvalidRequest(message, code="invalid_value", param=param)

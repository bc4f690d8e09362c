"""Chat completions within a stored conversation."""

from collections.abc import Callable
from functools import partial

import msgspec
from msgspec import UNSET

from handlers.conversations.translate import usage_record
from handlers.openai.chat.chunks import ChatTranslator
from jan.engine.base import ChatPrompt, GenerationRequest
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
from jan.schema.messages import Message
from jan.schema.sampling import Usage
from jan.storage.records import AnswerProgress


def check_alone(body: ChatCompletionRequest) -> None:
    """Refuse parameters that need a conversation if there is none. Raises InvalidRequest."""
    if not body.messages:
        raise _refusal("messages: Expected `array` of length >= 1.", "messages")
    for name in ("parent_message_id", "message_id"):
        if getattr(body, name) not in (UNSET, None):
            raise _refusal(f"{name}: Not allowed without conversation_id.", name)


async def begin_turn(
    services: Services,
    user_id: str,
    body: ChatCompletionRequest,
    translator: ChatTranslator,
    set_header: Callable[[str, str], None],
    asked: ModelRequest,
) -> tuple[ModelRequest, "StoredAnswer"]:
    """Check everything that can be wrong with the request, then store its messages.

    Returns the request with the conversation so far, and the keeper of its answer.
    """
    if body.n is not None and body.n != 1:
        raise _refusal("n: A conversation has one answer at a time; allowed: 1.", "n")
    if body.message_id is not None and not body.messages:
        raise _refusal("message_id: Not allowed without messages.", "message_id")
    await services.models.engine(asked.model)
    turn = await services.conversations.begin_turn(
        user_id,
        body.conversation_id or "",
        body.messages,
        parent_id=body.parent_message_id,
        message_id=body.message_id,
    )
    sequences = tuple(_with_history(sequence, turn, body) for sequence in asked.sequences)
    asked = msgspec.structs.replace(asked, sequences=sequences)
    return asked, StoredAnswer(turn, asked.model, translator, set_header)


def _with_history(request: GenerationRequest, turn: Turn, body: ChatCompletionRequest) -> GenerationRequest:
    prompt = request.prompt
    assert isinstance(prompt, ChatPrompt)  # made from a chat completion request
    before, stored = _split(turn.messages, len(body.messages))
    if prompt.messages != tuple(body.messages):  # a hook changed what the model gets of the request
        stored = prompt.messages
    messages = (*before, *map(_with_unstored, stored, prompt.messages))
    prompt = msgspec.structs.replace(prompt, messages=messages, stored_messages=len(before))
    return msgspec.structs.replace(request, prompt=prompt)


def _split(messages: tuple[Message, ...], count: int) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    """Split off the last ``count`` messages."""
    at = max(0, len(messages) - count)
    return messages[:at], messages[at:]


def _with_unstored(stored: Message, sent: Message) -> Message:
    """Return the message with what is not stored of it, a name and reasoning, unless the store has another one."""
    same = type(stored) is type(sent) and stored.content == sent.content
    return sent if same else stored


class StoredAnswer:
    """Stores the answer to a turn in its conversation while it is generated."""

    def __init__(
        self, turn: Turn, model: str, translator: ChatTranslator, set_header: Callable[[str, str], None]
    ) -> None:
        self._turn = turn
        self._model = model
        self._translator = translator
        self._set_header = set_header
        self._answer: CollectedAnswer | None = None
        self._kept: KeptAnswer | None = None

    def refused(self, error: JanError) -> None:
        """Say in the refusal which message can be answered again, and that SDKs must not retry by themselves.

        The request's messages are already stored at this point.
        """
        headers = {"x-should-retry": "false", "X-Jan-Parent-Message-Id": self._turn.parent_id}
        error.headers = {**error.headers, **headers}

    async def begin(self, answers: CollectedAnswers) -> None:
        """Store the beginning of the answer."""
        self._answer = answers.answers[0]
        kept = self._kept = self._turn.answer(self._model, partial(_progress, self._translator, self._answer))
        await kept.begin()
        self._translator.place = self._turn.place_of(kept)
        self._set_header("X-Jan-Message-Id", kept.message.id)

    async def finish(self, count: TokenCount) -> None:
        """Store the complete answer."""
        assert self._kept is not None  # it has begun
        assert self._answer is not None
        await self._kept.finish(_progress(self._translator, self._answer, count.usage))

    def leave(self) -> None:
        """Store the partial answer, unless it was finished."""
        if self._kept is not None:
            self._kept.leave()


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

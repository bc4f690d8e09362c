"""What a chat completion request asks of a stored conversation."""

from collections.abc import Awaitable
from typing import TypeVar

import msgspec
from msgspec import UNSET

from handlers.conversations.translate import usage_record
from jan.engine.base import ChatPrompt, GenerationRequest
from jan.errors import InvalidRequest, JanError
from jan.handler import Handler, Turn
from jan.schema.chat import ChatChoice, ChatCompletionRequest
from jan.schema.sampling import Usage
from jan.storage.records import AnswerProgress

T = TypeVar("T")


def check_alone(body: ChatCompletionRequest) -> None:
    """Raises InvalidRequest for a request without a conversation that makes sense only with one."""
    if not body.messages:
        raise _refusal("messages: expected `array` of length >= 1", "messages")
    for name in ("parent_message_id", "message_id"):
        if getattr(body, name) not in (UNSET, None):
            raise _refusal(f"{name} needs a conversation_id", name)


async def begin_turn(handler: Handler, body: ChatCompletionRequest, conversation_id: str) -> Turn:
    """Check all that can be wrong with the request, then store its messages."""
    user_id = handler.require("read", "write")
    if body.n is not None and body.n != 1:
        raise _refusal("n: a conversation takes one answer at a time; allowed: 1", "n")
    if body.message_id is not None and not body.messages:
        raise _refusal("message_id needs messages", "message_id")
    await handler.services.models.engine(body.model)
    return await handler.services.conversations.begin_turn(
        user_id,
        conversation_id,
        body.messages,
        parent_id=body.parent_message_id,
        message_id=body.message_id,
    )


def with_history(request: GenerationRequest, turn: Turn) -> GenerationRequest:
    """The request, with the conversation so far."""
    prompt = request.prompt
    assert isinstance(prompt, ChatPrompt)  # made of a chat completion request
    return msgspec.structs.replace(request, prompt=msgspec.structs.replace(prompt, messages=turn.messages))


async def to_retry(turn: Turn, step: Awaitable[T]) -> T:
    """Await a step after which the request can still be refused. Its messages are stored by then: SDKs must
    not repeat it by themselves, and the refusal says which message can be answered again."""
    try:
        return await step
    except JanError as error:
        told = {"x-should-retry": "false", "X-Jan-Parent-Message-Id": turn.parent_id}
        error.headers = {**error.headers, **told}
        raise


def progress_of(choice: ChatChoice, usage: Usage | None = None) -> AnswerProgress:
    """The answer as the store keeps it; the whole of it if ``usage`` is given."""
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

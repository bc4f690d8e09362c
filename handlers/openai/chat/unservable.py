"""Finds stored messages that a model can never get, once it has refused a conversation because of them."""

import re
from collections.abc import Sequence

from jan.engine.base import ChatPrompt, Engine, GenerationRequest
from jan.errors import InvalidRequest
from jan.handler import Turn
from jan.schema.messages import UserMessage
from jan.storage.records import MessageRecord

_MESSAGE = re.compile(r"^messages\[(\d+)\]")
# Messages that are tried alone, longest first. All text of a conversation is read once more at most.
_MOST_TRIED = 32


async def unservable(engine: Engine, turn: Turn, error: InvalidRequest, before: int = 0) -> set[str]:
    """Return the ids of the messages because of which a model refused a conversation; empty for other reasons.
    ``before``: messages of the request that stand before the stored ones.

    - The message that the error names, and others with parts of the same type.
    - If the prompt is too long: messages that are longer than the context alone, or else unanswered ones that are
      there again after them. Others stay.
    - If the template refuses: unanswered messages.
    """
    history = turn.history
    if error.code == "context_length_exceeded":
        return await _too_long_alone(engine, history) or _repeated(turn)
    named = _MESSAGE.match(error.param or "")
    if named is None:
        return _unanswered(history) if error.code == "unsupported_messages" else set()
    at = int(named[1]) - before
    if not 0 <= at < len(history):
        return set()
    culprit = history[at]
    kinds = _part_types(culprit)
    return {culprit.id, *(message.id for message in history if kinds & _part_types(message))}


def name_own_message(error: InvalidRequest, before: int) -> None:
    """Let an error name a message by its place in the request, which ``before`` stored ones precede."""
    named = _MESSAGE.match(error.param or "")
    if named is None:
        return
    if int(named[1]) < before:  # the stored question that is answered again
        error.param = "messages"
        return
    own = f"messages[{int(named[1]) - before}]"
    error.param = own + (error.param or "")[named.end() :]
    error.message = error.message.replace(named[0], own)


def _part_types(message: MessageRecord) -> set[str]:
    """Return the types of a message's parts that are not text."""
    parts = message.content if isinstance(message.content, list) else []
    return {str(part.get("type")) for part in parts} - {"text", "refusal"}


def _unanswered(history: Sequence[MessageRecord]) -> set[str]:
    """Return the ids of the messages of users and tools after the last answer."""
    last = max((at for at, message in enumerate(history) if message.role == "assistant"), default=-1)
    return {message.id for message in history[last + 1 :] if message.role in ("user", "tool")}


def _repeated(turn: Turn) -> set[str]:
    """Return the ids of unanswered messages that are sent again later: requests that were once refused."""
    unanswered = _unanswered(turn.history)
    waiting = [message for message in turn.history if message.id in unanswered]
    later, found = [(message.role, message.content) for message in turn.new], set[str]()
    for message in reversed(waiting):
        if (message.role, message.content) in later:
            found.add(message.id)
        later.append((message.role, message.content))
    return found


async def _too_long_alone(engine: Engine, history: Sequence[MessageRecord]) -> set[str]:
    # A token is at least one byte of the text.
    texts = [(message.id, _text(message)) for message in history]
    sized = [(len(text.encode()), own, text) for own, text in texts]
    longest = sorted((one for one in sized if one[0] >= engine.info.context_length), reverse=True)[:_MOST_TRIED]
    return {own for _, own, text in longest if await _fills_context(engine, text)}


def _text(message: MessageRecord) -> str:
    if isinstance(message.content, str):
        return message.content
    return "\n".join(str(part.get("text", "")) for part in message.content or ())


async def _fills_context(engine: Engine, text: str) -> bool:
    prompt = ChatPrompt(messages=(UserMessage(content=text),))
    try:
        prepared = await engine.prepare(GenerationRequest(prompt=prompt, max_tokens=1))
    except InvalidRequest as error:
        return error.code == "context_length_exceeded"
    engine.cancel(prepared.job_id)
    return False

"""Reads a streamed answer: server-sent events of chat completions, and the comments between them."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from jan.cli.chat.chat_failures import ChatError, bad_event, cut_off

_QUEUED = re.compile(rb": queued, (position \d+(?:, about \d+ s)?)")


class AnswerPlace(msgspec.Struct, frozen=True):
    """Where an answer is stored: the message of the answer, and that of its question."""

    message_id: str
    parent_message_id: str


class AnswerPart(msgspec.Struct, frozen=True, kw_only=True):
    """A part of an answer.

    - ``queued``: the request's place in the queue, in words.
    - ``model``, ``finish_reason``, ``usage``: as the server gives them.
    - ``note``: something that the person should know.
    - ``dropped``: the number of characters of the text that are made anew.
    """

    text: str = ""
    reasoning: str = ""
    queued: str = ""
    model: str = ""
    finish_reason: str = ""
    usage: dict[str, Any] | None = None
    place: AnswerPlace | None = None
    note: str = ""
    dropped: int = 0

    def added_to(self, text: str) -> str:
        """Return a text so far with this part."""
        return text[: len(text) - self.dropped] + self.text


class _Delta(msgspec.Struct, frozen=True):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class _Choice(msgspec.Struct, frozen=True):
    delta: _Delta = _Delta()
    finish_reason: str | None = None


class _Failure(msgspec.Struct, frozen=True):
    message: str = "The server gave no reason."
    code: str | int | None = None


class _Event(msgspec.Struct, frozen=True):
    choices: list[_Choice] = []
    model: str = ""
    usage: dict[str, Any] | None = None
    conversation: AnswerPlace | None = None
    error: _Failure | None = None


_decode = msgspec.json.Decoder(_Event).decode


def read_answer(lines: Iterable[bytes]) -> Iterator[AnswerPart]:
    """Yield the parts of an answer to its end. Raises ChatError for an answer that fails or is cut off."""
    for line in lines:
        if (queued := queued_part(line)) is not None:
            yield queued
        if not line.startswith(b"data:"):
            continue
        data = line[5:].strip()
        if data == b"[DONE]":
            return
        yield from _parts(data)
    raise cut_off()


def without_oldest(count: int) -> str:
    """Return the note that messages were left out."""
    return f"(The oldest messages were left out: {count}.)"


def queued_part(line: bytes) -> AnswerPart | None:
    """Return the place in the queue that a line of a stream tells; None for other lines."""
    found = _QUEUED.match(line)
    return None if found is None else AnswerPart(queued=found[1].decode())


def _parts(data: bytes) -> Iterator[AnswerPart]:
    try:
        event = _decode(data)
    except msgspec.MsgspecError as error:
        raise bad_event() from error
    if event.error is not None:
        raise ChatError(event.error.message, kind=str(event.error.code or "failed"))
    told = AnswerPart(model=event.model, usage=event.usage, place=event.conversation)
    if not event.choices:
        yield told
    for choice in event.choices:
        delta = choice.delta
        yield msgspec.structs.replace(
            told,
            text=delta.content or "",
            reasoning=delta.reasoning_content or delta.reasoning or "",
            finish_reason=choice.finish_reason or "",
        )

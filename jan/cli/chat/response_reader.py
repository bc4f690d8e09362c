"""Reads a response of the Responses API: numbered events, which may come over several connections."""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from jan.cli.chat.answer_reader import AnswerPart, AnswerPlace, queued_part
from jan.cli.chat.chat_failures import ChatError, bad_event, cut_off

# What ends a response early, as chat completions call it.
_FINISHES: Mapping[str, str] = MappingProxyType({"max_output_tokens": "length"})
_ENDS = ("response.completed", "response.incomplete", "response.failed")


class _Reason(msgspec.Struct, frozen=True):
    reason: str = ""


class _Usage(msgspec.Struct, frozen=True):
    input_tokens: int = 0
    output_tokens: int = 0
    input_tokens_details: dict[str, Any] = {}
    output_tokens_details: dict[str, Any] = {}

    def as_chat(self) -> dict[str, Any]:
        """The names of chat completions."""
        return {
            "prompt_tokens": self.input_tokens,
            "completion_tokens": self.output_tokens,
            "total_tokens": self.input_tokens + self.output_tokens,
            "prompt_tokens_details": self.input_tokens_details,
            "completion_tokens_details": self.output_tokens_details,
        }


class _Failed(msgspec.Struct, frozen=True):
    message: str = "The server gave no reason."
    code: str | None = None


class _Response(msgspec.Struct, frozen=True):
    id: str
    model: str = ""
    status: str = ""
    incomplete_details: _Reason | None = None
    usage: _Usage | None = None
    error: _Failed | None = None


class _Event(msgspec.Struct, frozen=True):
    type: str
    sequence_number: int = -1
    response: _Response | None = None
    item_id: str = ""
    delta: str = ""
    message: str = "The server gave no reason."
    code: str | None = None


_decode = msgspec.json.Decoder(_Event).decode


class ResponseReader:
    """Reads the events of one response. ``question_id``: that of the stored question; '' if it is not stored.

    Attributes:
        id: that of the response, '' until its first event.
        last: the number of the last event that was read; -1 if there is none.
        ended: True once the last event was read.
    """

    def __init__(self, question_id: str = "") -> None:
        self.id = ""
        self.last = -1
        self.ended = False
        self._question_id = question_id
        # The length of the text of each item, which may have to be dropped.
        self._lengths: dict[str, int] = {}

    def read(self, lines: Iterable[bytes]) -> Iterator[AnswerPart]:
        """Yield the parts of the answer that a connection has. Raises ChatError for an answer that fails, or a
        connection that ends before it."""
        for line in lines:
            if (queued := queued_part(line)) is not None:
                yield queued
            if not line.startswith(b"data:") or line[5:].strip() == b"[DONE]":
                continue
            try:
                event = _decode(line[5:])
            except msgspec.MsgspecError as error:
                raise bad_event() from error
            self.last = max(self.last, event.sequence_number)
            yield from self._parts(event)
            if self.ended:
                return
        raise cut_off()

    def _parts(self, event: _Event) -> Iterator[AnswerPart]:
        kind = event.type.removeprefix("response.")
        if event.type == "error":
            self.ended = True
            raise ChatError(event.message, kind=event.code or "failed")
        if event.response is not None:
            yield from self._of_response(event.type, event.response)
        elif kind == "output_text.delta":
            self._lengths[event.item_id] = self._lengths.get(event.item_id, 0) + len(event.delta)
            yield AnswerPart(text=event.delta)
        elif kind in ("reasoning_text.delta", "reasoning_summary_text.delta"):
            yield AnswerPart(reasoning=event.delta)
        elif kind == "output_item.dropped":
            dropped = self._lengths.pop(event.item_id, 0)
            yield AnswerPart(dropped=dropped, note="(The server makes the last part of the answer anew.)")

    def _of_response(self, kind: str, response: _Response) -> Iterator[AnswerPart]:
        place = None
        if not self.id:
            self.id = response.id
            if self._question_id:
                own = f"msg_{response.id.removeprefix('resp_')}"
                place = AnswerPlace(message_id=own, parent_message_id=self._question_id)
        finish = ""
        if kind in _ENDS:
            self.ended = True
            if kind == "response.failed":
                failed = response.error or _Failed()
                raise ChatError(failed.message, kind=failed.code or "failed")
            if response.status == "cancelled":
                yield AnswerPart(note="(The answer was stopped elsewhere.)")
            reason = response.incomplete_details.reason if response.incomplete_details else "stop"
            finish = _FINISHES.get(reason, reason)
        usage = None if response.usage is None else response.usage.as_chat()
        yield AnswerPart(model=response.model, place=place, finish_reason=finish, usage=usage)

"""Anthropic's messages on the wire: an engine's events as its events, and collected answers as whole messages."""

import hashlib
from functools import partial
from types import MappingProxyType

import msgspec

from handlers.openai.chat.tool_forms import arguments_of
from jan.engine.base import Delta, Finished, Started, ToolCallFragment
from jan.engine.call_ids import call_id
from jan.errors import JanError
from jan.handler import CollectedAnswer, CollectedAnswers, TextForm, TokenCount, TypedFrames
from jan.schema.anthropic_answer import (
    AnsweredBlock,
    AnsweredMessage,
    AnsweredText,
    AnsweredThinking,
    AnsweredToolUse,
    BlockPiece,
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    InputPiece,
    MessageDelta,
    MessageEnd,
    MessageEvent,
    MessagesError,
    MessagesErrorEnvelope,
    MessageStart,
    MessageStop,
    MessagesUsage,
    SignaturePiece,
    StopReason,
    TextPiece,
    ThinkingPiece,
)
from jan.schema.sampling import FinishReason

_REASONS = MappingProxyType[FinishReason, StopReason](
    {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
)
# Anthropic's types of errors, by the class here.
_TYPES = MappingProxyType(
    {
        "AuthenticationFailed": "authentication_error",
        "PermissionDenied": "permission_error",
        "NotFound": "not_found_error",
        "PayloadTooLarge": "request_too_large",
        "RateLimited": "rate_limit_error",
        "Unavailable": "overloaded_error",
        "InternalError": "api_error",
    }
)


def error_of(error: JanError, request_id: str = "") -> MessagesErrorEnvelope:
    """Return an error in Anthropic's form."""
    names = [base.__name__ for base in type(error).__mro__]
    kind = next((_TYPES[name] for name in names if name in _TYPES), "invalid_request_error")
    detail = MessagesError(type=kind, message=error.message, code=error.code, param=error.param)
    return MessagesErrorEnvelope(error=detail, request_id=request_id or msgspec.UNSET)


class MessageFrames(TypedFrames):
    """Encodes Anthropic's events. During silence there is a ``ping``."""

    last = b""
    keep_alive = b'event: ping\ndata: {"type": "ping"}\n\n'

    def error(self, error: JanError) -> bytes:
        """Encode the event that ends a stream early."""
        return self.each(error_of(error))[0]


class MessageTranslator:
    """Translates the answer to one request into Anthropic's messages.

    ``shows_thinking``: the answer has the model's reasoning. ``asks_cache``: usage tells what was read from the
    cache.
    """

    def __init__(self, message_id: str, model: str, *, shows_thinking: bool, asks_cache: bool) -> None:
        self._id = message_id
        self._model = model
        self._shows_thinking = shows_thinking
        self._asks_cache = asks_cache
        # The number of the open block, -1 before the first one; what it holds, '' if none is open.
        self._index = -1
        self._open = ""
        self._call = -1
        self._thought = hashlib.blake2b(digest_size=24)
        self._end: Finished | None = None

    # --- streamed -----------------------------------------------------------------------------------

    def frames(self) -> MessageFrames:
        """Make the encoder of the events."""
        return MessageFrames()

    def text_form(self, _index: int) -> TextForm[ContentBlockDelta] | None:
        """Make the form of new text in the block that is open; None if that holds something else."""
        return TextForm(partial(_with_text, self._index)) if self._open == "text" else None

    def make(self, _index: int, event: Started | Delta | Finished) -> list[MessageEvent]:
        """Make the events for an event of the engine."""
        if isinstance(event, Started):
            usage = MessagesUsage(input_tokens=event.prompt_tokens, output_tokens=0)
            return [MessageStart(message=self._message([], None, None, usage))]
        if isinstance(event, Finished):
            self._end = event
            return self._close()
        return [one for part in event.parts or (event,) for one in self._of_part(part)]

    def _of_part(self, part: Delta) -> list[MessageEvent]:
        made: list[MessageEvent] = []
        ended, begun = part.calls_from(self._call)
        for fragment in ended:
            made += self._of_call(fragment)
        if part.reasoning and self._shows_thinking:
            self._thought.update(part.reasoning.encode())
            made += self._in_block("thinking", AnsweredThinking(thinking="", signature=""))
            made.append(self._piece(ThinkingPiece(thinking=part.reasoning)))
        if part.text:
            made += self._in_block("text", AnsweredText(text=""))
            made.append(self._piece(TextPiece(text=part.text)))
        for fragment in begun:
            made += self._of_call(fragment)
        return made

    def _of_call(self, fragment: ToolCallFragment) -> list[MessageEvent]:
        made: list[MessageEvent] = []
        if fragment.index != self._call:
            self._call = fragment.index
            made += self._close()
            made += self._in_block(
                "call", AnsweredToolUse(id=self._call_id(self._call), name=fragment.name, input={})
            )
        if fragment.arguments:
            made.append(self._piece(InputPiece(partial_json=fragment.arguments)))
        return made

    def _in_block(self, kind: str, block: AnsweredBlock) -> list[MessageEvent]:
        """Begin a block, unless one of this kind is open."""
        if self._open == kind:
            return []
        made = self._close()
        self._open, self._index = kind, self._index + 1
        return [*made, ContentBlockStart(index=self._index, content_block=block)]

    def _close(self) -> list[MessageEvent]:
        """End the block that is open, if any."""
        kind, self._open = self._open, ""
        if not kind:
            return []
        signed = [self._piece(SignaturePiece(signature=self._thought.hexdigest()))] if kind == "thinking" else []
        return [*signed, ContentBlockStop(index=self._index)]

    def _piece(self, piece: BlockPiece) -> ContentBlockDelta:
        return ContentBlockDelta(index=self._index, delta=piece)

    def last(self, count: TokenCount) -> list[MessageEvent]:
        """Make the end: why the answer ended, and all token counts."""
        reason = None if self._end is None else self._end.reason
        stop = "" if self._end is None else self._end.stop_string
        end = MessageEnd(stop_reason=_reason(reason, stop), stop_sequence=stop or None)
        return [MessageDelta(delta=end, usage=self._usage(count)), MessageStop()]

    # --- whole --------------------------------------------------------------------------------------

    def whole(self, answers: CollectedAnswers, count: TokenCount) -> AnsweredMessage:
        """Make the whole message from the collected answer."""
        answer = answers.answers[0]
        reason, stop = _reason(answer.reason, answer.stop_string), answer.stop_string or None
        return self._message(self._blocks(answer), reason, stop, self._usage(count))

    def _blocks(self, answer: CollectedAnswer) -> list[AnsweredBlock]:
        blocks: list[AnsweredBlock] = []
        if answer.reasoning and self._shows_thinking:
            self._thought.update(answer.reasoning.encode())
            blocks.append(AnsweredThinking(thinking=answer.reasoning, signature=self._thought.hexdigest()))
        if answer.text:
            blocks.append(AnsweredText(text=answer.text))
        for number, call in enumerate(answer.calls):
            own = self._call_id(number)
            blocks.append(AnsweredToolUse(id=own, name=call.name, input=arguments_of(call.arguments)))
        return blocks

    # --- parts --------------------------------------------------------------------------------------

    def _message(
        self, content: list[AnsweredBlock], reason: StopReason | None, stop: str | None, usage: MessagesUsage
    ) -> AnsweredMessage:
        return AnsweredMessage(
            id=self._id, model=self._model, content=content, stop_reason=reason, stop_sequence=stop, usage=usage
        )

    def _call_id(self, number: int) -> str:
        return "toolu_" + call_id("call", f"{self._id} {number}").removeprefix("call_")

    def _usage(self, count: TokenCount) -> MessagesUsage:
        used = count.usage
        cached = used.prompt_tokens_details.cached_tokens if self._asks_cache else 0
        return MessagesUsage(
            input_tokens=used.prompt_tokens - cached,
            output_tokens=used.completion_tokens,
            cache_read_input_tokens=cached,
        )


def _reason(reason: FinishReason | None, stop: str) -> StopReason:
    return "stop_sequence" if stop else _REASONS[reason or "stop"]


def _with_text(index: int, text: str) -> ContentBlockDelta:
    return ContentBlockDelta(index=index, delta=TextPiece(text=text))

"""The chunks of a streamed chat completion: an engine's events in the wire's form."""

import secrets
from collections.abc import AsyncGenerator
from functools import partial
from itertools import groupby
from operator import attrgetter

import msgspec
from msgspec import UNSET

from jan.engine.base import Delta, Finished, Queued, Started, ToolCallFragment
from jan.handler import TextForm, TextRun, events_in
from jan.schema.chat import (
    ChatChunkChoice,
    ChatCompletionChunk,
    ChatDelta,
    ChoiceLogprobs,
    FunctionCallDelta,
    ToolCallDelta,
)

Item = ChatCompletionChunk | list[ChatCompletionChunk] | TextRun[ChatCompletionChunk] | Queued
Chunks = AsyncGenerator[Item, None]


def choices_of(item: Item) -> list[ChatChunkChoice]:
    """What is new in the answers."""
    return [choice for chunk in events_in(item) for choice in chunk.choices]


class ChunkMaker:
    """Makes the chunks of an answer of so many ``choices``; ``chunk`` is what they have in common."""

    def __init__(self, chunk: ChatCompletionChunk, choices: int) -> None:
        self._chunk = chunk
        self._forms = [TextForm(partial(_with_text, chunk, index)) for index in range(choices)]

    def make(self, index: int, event: Started | Delta | Finished) -> Item | None:
        """An event of the choice of this index on the wire, if there is anything to tell: a chunk, or as many as
        the engine made steps."""
        if isinstance(event, Started):
            return self._with(ChatChunkChoice(index=index, delta=ChatDelta(role="assistant", content="")))
        if isinstance(event, Finished):
            return self._with(ChatChunkChoice(index=index, delta=ChatDelta(), finish_reason=event.reason))
        if not event:
            return None
        parts = event.parts or (event,)
        if event.text_only:
            return TextRun(self._forms[index], [part.text for part in parts if part.text])
        return [self._with(_piece(index, part)) for part in parts if part]

    def _with(self, choice: ChatChunkChoice) -> ChatCompletionChunk:
        return msgspec.structs.replace(self._chunk, choices=[choice])


def _with_text(chunk: ChatCompletionChunk, index: int, text: str) -> ChatCompletionChunk:
    return msgspec.structs.replace(chunk, choices=[ChatChunkChoice(index=index, delta=ChatDelta(content=text))])


def _piece(index: int, event: Delta) -> ChatChunkChoice:
    delta = ChatDelta(content=event.text or UNSET, reasoning_content=event.reasoning or UNSET)
    if event.tool_calls:
        calls = groupby(event.tool_calls, key=attrgetter("index"))
        delta.tool_calls = [_call_piece(number, list(fragments)) for number, fragments in calls]
    logprobs = ChoiceLogprobs(content=list(event.logprobs)) if event.logprobs else None
    return ChatChunkChoice(index=index, delta=delta, logprobs=logprobs)


def _call_piece(index: int, fragments: list[ToolCallFragment]) -> ToolCallDelta:
    """What is new in one call, as one piece: clients lose the second piece of a call within a chunk."""
    name = "".join(fragment.name for fragment in fragments)
    arguments = "".join(fragment.arguments for fragment in fragments)
    if not name:
        return ToolCallDelta(index=index, function=FunctionCallDelta(arguments=arguments))
    return ToolCallDelta(
        index=index,
        id=f"call_{secrets.token_hex(12)}",
        type="function",
        function=FunctionCallDelta(name=name, arguments=arguments),
    )

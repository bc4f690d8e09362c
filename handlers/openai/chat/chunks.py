"""Chat completions on the wire: an engine's events as chunks, and collected answers as whole responses."""

import time
from functools import partial
from itertools import groupby
from operator import attrgetter

import msgspec
from msgspec import UNSET, UnsetType

from jan.engine.base import Delta, Finished, Started, ToolCallFragment
from jan.engine.call_ids import CallIds, call_id
from jan.handler import CollectedAnswer, CollectedAnswers, Frames, TextForm, TokenCount
from jan.schema.chat import ConversationPlace
from jan.schema.chat_completion import (
    AnswerMessage,
    ChatChoice,
    ChatChunkChoice,
    ChatCompletion,
    ChatCompletionChunk,
    ChatDelta,
    ChoiceLogprobs,
    FunctionCallDelta,
    ToolCallDelta,
)
from jan.schema.messages import FunctionCall, ToolCall
from jan.schema.sampling import ServiceTier

Chunks = ChatCompletionChunk | list[ChatCompletionChunk]


class ChatTranslator:
    """Translates the answer to one request into OpenAI's chat completions.

    - ``with_usage``: a stream ends with a chunk of token counts.
    - ``place``: where the answer is stored, sent in the first chunk. Set it before any chunk is made.
    """

    def __init__(
        self,
        completion_id: str,
        model: str,
        *,
        with_usage: bool,
        tier: ServiceTier | UnsetType,
    ) -> None:
        self.place: ConversationPlace | UnsetType = UNSET
        self._with_usage = with_usage
        self._begun = False
        self._call_ids: CallIds = "call"
        self._chunk = ChatCompletionChunk(
            id=completion_id, created=int(time.time()), model=model, choices=[], service_tier=tier
        )
        if with_usage:
            self._chunk.usage = None

    # --- streamed -----------------------------------------------------------------------------------

    def frames(self) -> Frames:
        """Make the encoder of chunks."""
        return Frames()

    def text_form(self, index: int) -> TextForm[ChatCompletionChunk]:
        """Make the form of chunks that differ only in their text."""
        return TextForm(partial(_with_text, self._chunk, index))

    def make(self, index: int, event: Started | Delta | Finished) -> Chunks | None:
        """Make chunks of an event: of a delta, one for each step of the engine."""
        if isinstance(event, Started):
            self._call_ids = event.notes.call_ids
            chunk = self._with(ChatChunkChoice(index=index, delta=ChatDelta(role="assistant", content="")))
            if not self._begun:
                self._begun, chunk.conversation = True, self.place
            return chunk
        if isinstance(event, Finished):
            return self._with(ChatChunkChoice(index=index, delta=ChatDelta(), finish_reason=event.reason))
        return [self._with(self._piece(index, part)) for part in event.parts or (event,) if part]

    def last(self, count: TokenCount) -> ChatCompletionChunk | None:
        """Make the chunk of token counts if the request asked for it."""
        return msgspec.structs.replace(self._chunk, usage=count.usage) if self._with_usage else None

    def _with(self, choice: ChatChunkChoice) -> ChatCompletionChunk:
        return msgspec.structs.replace(self._chunk, choices=[choice])

    def _piece(self, index: int, event: Delta) -> ChatChunkChoice:
        delta = ChatDelta(content=event.text or UNSET, reasoning_content=event.reasoning or UNSET)
        if event.tool_calls:
            calls = groupby(event.tool_calls, key=attrgetter("index"))
            delta.tool_calls = [self._call_piece(index, number, list(pieces)) for number, pieces in calls]
        logprobs = ChoiceLogprobs(content=list(event.logprobs)) if event.logprobs else None
        return ChatChunkChoice(index=index, delta=delta, logprobs=logprobs)

    def _call_piece(self, choice: int, index: int, fragments: list[ToolCallFragment]) -> ToolCallDelta:
        """Join the new fragments of one call. Clients lose the second piece of a call within a chunk."""
        name = "".join(fragment.name for fragment in fragments)
        arguments = "".join(fragment.arguments for fragment in fragments)
        if not name:
            return ToolCallDelta(index=index, function=FunctionCallDelta(arguments=arguments))
        return ToolCallDelta(
            index=index,
            id=self._call_id(choice, index, self._call_ids),
            type="function",
            function=FunctionCallDelta(name=name, arguments=arguments),
        )

    def _call_id(self, choice: int, index: int, form: CallIds) -> str:
        """Return the id of a call, which is the same in every form of this answer."""
        return call_id(form, f"{self._chunk.id} {choice} {index}")

    # --- whole --------------------------------------------------------------------------------------

    def whole(self, answers: CollectedAnswers, count: TokenCount) -> ChatCompletion:
        """Make the whole response from the collected answers."""
        return ChatCompletion(
            id=self._chunk.id,
            created=self._chunk.created,
            model=self._chunk.model,
            choices=[self.choice(index, answer) for index, answer in enumerate(answers.answers)],
            usage=count.usage,
            service_tier=self._chunk.service_tier,
            conversation=self.place,
        )

    def choice(self, index: int, answer: CollectedAnswer) -> ChatChoice:
        """Make the choice at ``index`` from its answer so far."""
        content = answer.text
        calls = [
            ToolCall(
                id=self._call_id(index, number, answer.call_ids),
                function=FunctionCall(name=call.name, arguments=call.arguments),
            )
            for number, call in enumerate(answer.calls)
        ]
        return ChatChoice(
            index=index,
            message=AnswerMessage(
                content=None if calls and not content else content,
                reasoning_content=answer.reasoning or UNSET,
                tool_calls=calls or UNSET,
            ),
            logprobs=ChoiceLogprobs(content=answer.logprobs) if answer.logprobs else None,
            finish_reason=answer.reason or "stop",
        )


def _with_text(chunk: ChatCompletionChunk, index: int, text: str) -> ChatCompletionChunk:
    return msgspec.structs.replace(chunk, choices=[ChatChunkChoice(index=index, delta=ChatDelta(content=text))])

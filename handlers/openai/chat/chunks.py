"""Chat completions on the wire: an engine's events as chunks, and collected answers as whole responses."""

import time
from functools import partial

import msgspec
from msgspec import UNSET, UnsetType

from handlers.openai.chat.call_chunks import CallForms, CallPieces, put_calls
from handlers.openai.reports import Reports, RunningUsage, prompt_scores
from jan.engine.base import Delta, Finished, Started
from jan.engine.call_ids import CallIds, call_id
from jan.handler import CollectedAnswer, CollectedAnswers, Frames, NewBlock, TextForm, TokenCount
from jan.schema.chat import ConversationPlace
from jan.schema.chat_completion import (
    AnswerMessage,
    ChatChoice,
    ChatChunkChoice,
    ChatCompletion,
    ChatCompletionChunk,
    ChatDelta,
    ChoiceLogprobs,
    ChunkBlock,
)
from jan.schema.sampling import ServiceTier

# More than the choices of any request.
_ALL = 1_000_000

Chunks = ChatCompletionChunk | list[ChatCompletionChunk]


class ChatTranslator:
    """Translates the answer to one request into OpenAI's chat completions.

    - ``with_usage``: a stream ends with a chunk of token counts. ``reports``: what the answer reports.
      ``calls``: the forms of its calls.
    - ``place``: where the answer is stored, sent in the first chunk. Set it before any chunk is made.
    """

    #: All text of a choice is one.
    parts_text = False

    def __init__(
        self,
        completion_id: str,
        model: str,
        *,
        with_usage: bool,
        tier: ServiceTier | UnsetType,
        reports: Reports = Reports(),  # noqa: B008 - frozen
        calls: CallForms = CallForms(),  # noqa: B008 - frozen
    ) -> None:
        self._forms = calls
        self._calls: dict[int, CallPieces] = {}
        self._reports = reports
        self._counted = RunningUsage()
        self.place: ConversationPlace | UnsetType = UNSET
        self._with_usage = with_usage
        self._begun = False
        self._call_ids: CallIds = "call"
        self._chunk = ChatCompletionChunk(
            id=completion_id, created=int(time.time()), model=model, choices=[], service_tier=tier
        )
        if with_usage:
            self._chunk.usage = None

    @property
    def completion_id(self) -> str:
        """The id of the completion."""
        return self._chunk.id

    # --- streamed -----------------------------------------------------------------------------------

    def frames(self) -> Frames:
        """Make the encoder of chunks."""
        return Frames()

    def text_form(self, index: int) -> TextForm[ChatCompletionChunk] | None:
        """Make the form of chunks that differ only in their text; None if they differ in more."""
        return None if self._reports.in_chunks else TextForm(partial(_with_text, self._chunk, index))

    def make(self, index: int, event: Started | Delta | Finished) -> Chunks | None:
        """Make chunks of an event: of a delta, one for each step of the engine."""
        if not isinstance(event, Delta):
            self._counted.add(index, event)
        if isinstance(event, Started):
            self._call_ids = event.notes.call_ids
            self._chunk.system_fingerprint = event.fingerprint or None
            content = None if self._forms.forced else ""
            chunk = self._with(ChatChunkChoice(index=index, delta=ChatDelta(role="assistant", content=content)))
            if event.prompt_ids and self._reports.token_ids:
                chunk.prompt_token_ids = list(event.prompt_ids)
            if not self._begun:
                self._begun, chunk.conversation = True, self.place
            return chunk
        if isinstance(event, Finished):
            delta, reason = ChatDelta(), self._forms.reason(event.reason)
            if index in self._calls:
                self._calls[index].end(delta)
            return self._with(ChatChunkChoice(index=index, delta=delta, finish_reason=reason))
        return [piece for part in event.parts or (event,) if (piece := self._chunk_of(index, part)) is not None]

    def _chunk_of(self, index: int, part: Delta) -> ChatCompletionChunk | None:
        """Make the chunk of one step; None if it shows nothing."""
        self._counted.add(index, part)
        if not self._reports.reasoning and part.reasoning:
            part = msgspec.structs.replace(part, reasoning="")
        return self._with(self._piece(index, part)) if part else None

    def last(self, count: TokenCount) -> ChatCompletionChunk | None:
        """Make the chunk of token counts if the request asked for it."""
        return msgspec.structs.replace(self._chunk, usage=count.usage) if self._with_usage else None

    def block(self, index: int, _part: int, block: NewBlock) -> ChatCompletionChunk:
        """Make the chunk of a block of the text."""
        shown = ChunkBlock(choice=index, index=block.index, html=block.html, end=block.end)
        return msgspec.structs.replace(self._chunk, block=shown)

    def _with(self, choice: ChatChunkChoice) -> ChatCompletionChunk:
        chunk = msgspec.structs.replace(self._chunk, choices=[choice])
        if self._reports.usage_in_chunks:
            chunk.usage = self._counted.usage(choices=_ALL)  # a chat has one prompt
        return chunk

    def _piece(self, index: int, event: Delta) -> ChatChunkChoice:
        reasoning = event.reasoning or UNSET
        delta = ChatDelta(content=event.text or UNSET, reasoning_content=reasoning, reasoning=reasoning)
        if event.tool_calls:
            self._calls_of(index).add(event.tool_calls, delta)
        logprobs = ChoiceLogprobs(content=self._reports.named(event.logprobs)) if event.logprobs else None
        ids = list(event.token_ids) if self._reports.token_ids else UNSET
        return ChatChunkChoice(index=index, delta=delta, logprobs=logprobs, token_ids=ids)

    def _calls_of(self, index: int) -> CallPieces:
        """Return the calls of the choice at ``index`` so far."""
        if index not in self._calls:
            ids = partial(_numbered_id, self._call_ids, f"{self._chunk.id} {index}")
            self._calls[index] = CallPieces(self._forms, ids)
        return self._calls[index]

    # --- whole --------------------------------------------------------------------------------------

    def whole(self, answers: CollectedAnswers, count: TokenCount) -> ChatCompletion:
        """Make the whole response from the collected answers."""
        first = answers.answers[0]
        return ChatCompletion(
            id=self._chunk.id,
            created=self._chunk.created,
            model=self._chunk.model,
            choices=[self.choice(index, answer) for index, answer in enumerate(answers.answers)],
            usage=count.usage,
            system_fingerprint=first.fingerprint or None,
            service_tier=self._chunk.service_tier,
            conversation=self.place,
            prompt_token_ids=list(first.prompt_ids) if self._reports.token_ids else UNSET,
            prompt_logprobs=prompt_scores(first.prompt_logprobs) if self._reports.prompt_logprobs else UNSET,
        )

    def choice(self, index: int, answer: CollectedAnswer) -> ChatChoice:
        """Make the choice at ``index`` from its answer so far."""
        reasoning = (self._reports.reasoning and answer.reasoning) or UNSET
        message = AnswerMessage(
            content=None if answer.calls and not answer.text else answer.text,
            reasoning_content=reasoning,
            reasoning=reasoning,
        )
        ids = partial(_numbered_id, answer.call_ids, f"{self._chunk.id} {index}")
        put_calls(answer, self._forms, ids, message)
        return ChatChoice(
            index=index,
            message=message,
            logprobs=ChoiceLogprobs(content=self._reports.named(answer.logprobs)) if answer.logprobs else None,
            finish_reason=self._forms.reason(answer.reason or "stop"),
            token_ids=answer.token_ids if self._reports.token_ids else UNSET,
        )


def _numbered_id(form: CallIds, choice: str, number: int) -> str:
    """Return the id of a choice's call, which is the same in every form of the answer."""
    return call_id(form, f"{choice} {number}")


def _with_text(chunk: ChatCompletionChunk, index: int, text: str) -> ChatCompletionChunk:
    return msgspec.structs.replace(chunk, choices=[ChatChunkChoice(index=index, delta=ChatDelta(content=text))])

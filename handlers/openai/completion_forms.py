"""Text completions on the wire: an engine's events as chunks, and collected answers as whole responses."""

import secrets
import time
from collections.abc import Sequence
from functools import partial

import msgspec
from msgspec import UNSET, UnsetType

from handlers.openai.reports import Reports, RunningUsage, TextOffsets, prompt_scores
from jan.engine.base import Delta, Finished, Started
from jan.handler import CollectedAnswer, CollectedAnswers, Frames, TextForm, TokenCount
from jan.schema.completions import Completion, CompletionChoice, CompletionLogprobs
from jan.schema.sampling import ServiceTier, TokenLogprob, TopLogprob


class CompletionShape(msgspec.Struct, frozen=True, kw_only=True):
    """The shape of one request's answer.

    ``prompts``: number of prompts. ``generated``: answers to each. ``returned``: the number of them that are
    returned, which are the likeliest. ``logprobs``: log probabilities are returned; ``prompt_scored``: those of an
    echoed prompt too.
    """

    prompts: int
    generated: int = 1
    returned: int = 1
    logprobs: bool = False
    prompt_scored: bool = False


class CompletionTranslator:
    """Translates the answer to one request into OpenAI's text completions. With ``with_usage``, a stream ends with
    an event of token counts."""

    def __init__(
        self,
        model: str,
        shape: CompletionShape,
        reports: Reports,
        *,
        with_usage: bool,
        tier: ServiceTier | UnsetType,
    ) -> None:
        self._shape = shape
        self._reports = reports
        self._with_usage = with_usage
        self._counted = RunningUsage()
        self._piece = Completion(
            id=f"cmpl-{secrets.token_hex(12)}",
            created=int(time.time()),
            model=model,
            choices=[],
            service_tier=tier,
        )
        if with_usage:
            self._piece.usage = None
        choices = shape.prompts * shape.generated
        self._offsets = [TextOffsets() for _ in range(choices)]
        # What each sequence's start said, until it is sent with the first chunk.
        self._started: dict[int, Started] = {}
        # The sequences whose answer begins with the log probabilities of a prompt. An empty one has none.
        self._scored: set[int] = set()

    # --- streamed -----------------------------------------------------------------------------------

    def frames(self) -> Frames:
        """Make the encoder of events."""
        return Frames()

    def text_form(self, index: int) -> TextForm[Completion] | None:
        """Make the form of events that differ only in their text; None if they differ in more."""
        if self._shape.logprobs or self._reports.in_chunks:
            return None
        return TextForm(partial(_with_text, self._piece, index))

    def make(self, index: int, event: Started | Delta | Finished) -> Completion | list[Completion] | None:
        """Make events of an event of the engine: of a delta, one for each step."""
        if isinstance(event, Delta):
            parts = event.parts or (event,)
            return [made for part in parts if (made := self._piece_of(index, part)) is not None]
        self._counted.add(index, event)
        if isinstance(event, Started):
            self._piece.system_fingerprint = event.fingerprint or None
        if isinstance(event, Finished):
            return self._with(CompletionChoice(index=index, text="", finish_reason=event.reason))
        if self._shape.prompt_scored and event.prompt_text:
            self._scored.add(index)
        if index in self._scored or self._reports.token_ids:
            self._started[index] = event
            return None
        if not event.prompt_text:
            return None  # the first chunk has the first token, for clients that measure when it comes
        self._offsets[index] = TextOffsets(len(event.prompt_text))
        return _with_text(self._piece, index, event.prompt_text)

    def _piece_of(self, index: int, part: Delta) -> Completion | None:
        self._counted.add(index, part)
        scored = index in self._scored
        if part.prompt_logprobs and not scored:
            part = msgspec.structs.replace(part, prompt_logprobs=())
        if not part or (scored and index in self._started and not part.prompt_logprobs):
            return None
        choice = CompletionChoice(index=index, text=part.text)
        started = self._started.pop(index, None)
        if started is not None:
            choice.text = started.prompt_text + choice.text
            if self._reports.token_ids:
                choice.prompt_token_ids = list(started.prompt_ids)
        tokens = (*part.prompt_logprobs, *part.logprobs)
        if tokens:
            offsets = self._offsets[index].next(tokens)
            choice.logprobs = self._logprobs(tokens, offsets, begins=bool(part.prompt_logprobs))
        if self._reports.token_ids:
            choice.token_ids = list(part.token_ids)
        return self._with(choice)

    def _with(self, choice: CompletionChoice) -> Completion:
        made = msgspec.structs.replace(self._piece, choices=[choice])
        if self._reports.usage_in_chunks:
            made.usage = self._counted.usage(self._shape.generated)
        return made

    def last(self, count: TokenCount) -> Completion | None:
        """Make the event of token counts if the request asked for it."""
        return msgspec.structs.replace(self._piece, usage=count.usage) if self._with_usage else None

    # --- whole --------------------------------------------------------------------------------------

    def whole(self, answers: CollectedAnswers, count: TokenCount) -> Completion:
        """Make the whole response from the collected answers."""
        chosen: list[CollectedAnswer] = []
        for first in range(0, len(answers.answers), self._shape.generated):
            chosen += self._best(answers.answers[first : first + self._shape.generated])
        choices = [self._choice(index, answer) for index, answer in enumerate(chosen)]
        return msgspec.structs.replace(
            self._piece,
            choices=choices,
            usage=count.usage,
            system_fingerprint=answers.answers[0].fingerprint or None,
        )

    def _best(self, answers: Sequence[CollectedAnswer]) -> Sequence[CollectedAnswer]:
        """Return the answers with the highest log probability per token."""
        if self._shape.returned == len(answers):
            return answers
        return sorted(answers, key=_likelihood, reverse=True)[: self._shape.returned]

    def _choice(self, index: int, answer: CollectedAnswer) -> CompletionChoice:
        scored = self._shape.prompt_scored
        prompt = answer.prompt_logprobs if scored and answer.prompt_text else ()
        tokens = (*prompt, *answer.logprobs)
        offsets = TextOffsets(0 if prompt else len(answer.prompt_text)).next(tokens)
        wanted = scored or (self._shape.logprobs and tokens)
        ids = self._reports.token_ids
        return CompletionChoice(
            index=index,
            text=answer.prompt_text + answer.text,
            logprobs=self._logprobs(tokens, offsets, begins=bool(prompt)) if wanted else None,
            finish_reason=answer.reason,
            token_ids=answer.token_ids if ids else UNSET,
            prompt_token_ids=list(answer.prompt_ids) if ids else UNSET,
            prompt_logprobs=prompt_scores(answer.prompt_logprobs) if self._reports.prompt_logprobs else UNSET,
        )

    def _logprobs(self, tokens: Sequence[TokenLogprob], offsets: list[int], *, begins: bool) -> CompletionLogprobs:
        """Return log probabilities. ``begins``: the first token is a prompt's first, which has none."""
        named = [self._name(token) for token in tokens]
        tops = [
            {name: token.logprob} | {self._name(top): top.logprob for top in token.top_logprobs}
            for token, name in zip(tokens, named, strict=True)
        ]
        chances = [token.logprob for token in tokens]
        return CompletionLogprobs(
            tokens=named,
            token_logprobs=[None, *chances[1:]] if begins else [*chances],
            top_logprobs=[None, *tops[1:]] if begins else [*tops],
            text_offset=offsets,
        )

    def _name(self, token: TopLogprob) -> str:
        """Return how a token is written: its text, its id, or its bytes where they are no text."""
        if self._reports.names_are_ids:
            return f"token_id:{token.token_id}"
        if "\ufffd" not in token.token:
            return token.token
        data = bytes(token.bytes or ())
        try:
            return data.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)


def _likelihood(answer: CollectedAnswer) -> float:
    return sum(token.logprob for token in answer.logprobs) / max(1, len(answer.logprobs))


def _with_text(piece: Completion, index: int, text: str) -> Completion:
    return msgspec.structs.replace(piece, choices=[CompletionChoice(index=index, text=text)])

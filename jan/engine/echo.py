"""A deterministic backend that says the last message again, word by word: development, tests, load."""

import re
import time
from typing import Annotated

import msgspec

from jan.engine.answer import Answer
from jan.engine.base import (
    ChatPrompt,
    Finished,
    GenerationRequest,
    JobId,
    ModelInfo,
    Output,
    Progress,
    TextPrompt,
)
from jan.engine.capacity import token_budget
from jan.engine.dialect import PLAIN, THINK_CLOSE, ReasoningOption, ToolFormatOption, dialect_of
from jan.engine.prompt import plain_messages
from jan.engine.stats import CacheUse

_WORD = re.compile(r"\S+\s*|\s+")


class EchoOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``step_seconds``: pause before each step, as a model's forward pass would take. ``repeat``: how often
    the text is said. ``slots``: how many requests run at once. ``piece``: how many characters a token has, 0 for
    words. ``tool_format``, ``reasoning``: what is looked for in the text, as in a model's answer. For fire
    drills, words that it stumbles over: at ``hang_word`` it hangs for ``hang_seconds``, at ``die_word`` its thread
    ends."""

    context: Annotated[int, msgspec.Meta(ge=1)] = 4096
    slots: Annotated[int, msgspec.Meta(ge=1)] = 256
    step_seconds: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.0
    repeat: Annotated[int, msgspec.Meta(ge=0)] = 1
    piece: Annotated[int, msgspec.Meta(ge=0)] = 0
    tool_format: ToolFormatOption = "auto"
    reasoning: ReasoningOption = "off"
    hang_word: str = ""
    hang_seconds: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    die_word: str = ""


class _Job(msgspec.Struct):
    prompt_tokens: int
    prompt_text: str
    words: list[str]
    limit: int
    answer: Answer
    # How many words are said in all.
    last: int
    said: int = 0

    @property
    def cells(self) -> int:
        """Words that it may come to hold."""
        return self.prompt_tokens + self.last

    @property
    def next_word(self) -> list[str]:
        """What is said next, if anything is."""
        return [word.strip() for word in self.words[self.said : min(self.last, self.said + 1)]]


class EchoBackend:
    """A word is a token; each step says one more word of every job."""

    def __init__(self, options: EchoOptions) -> None:
        self._options = options
        self._jobs: dict[JobId, _Job] = {}
        # A word that it is to remember is a token of a model's cache.
        self._cache = CacheUse(total=options.slots * options.context)
        self._dialect = dialect_of(THINK_CLOSE, options.tool_format, options.reasoning)

    def load(self, progress: Progress) -> ModelInfo:
        """Nothing to load."""
        progress(1.0)
        return ModelInfo(context_length=self._options.context, slots=self._options.slots, cache=self._cache)

    def prepare(self, request: GenerationRequest) -> _Job:
        """Split into words."""
        prompt, said = _texts(request)
        count = len(_WORD.findall(prompt))
        limit = token_budget(request, count, self._options.context)
        words = self._split(said) * self._options.repeat
        text = prompt if request.echo else ""
        # That it ends is decided here, so that an answer of exactly its limit is complete.
        answer = Answer(
            request, count, limit + 1, self._dialect if isinstance(request.prompt, ChatPrompt) else PLAIN
        )
        return _Job(count, text, words, limit, answer, min(limit, len(words)))

    def _split(self, text: str) -> list[str]:
        size = self._options.piece
        return [text[at : at + size] for at in range(0, len(text), size)] if size else _WORD.findall(text)

    def has_room(self, job: _Job) -> bool:
        """Whether a slot is free."""
        return len(self._jobs) < self._options.slots

    def begin(self, job_id: JobId, job: _Job) -> None:
        """Begin to speak."""
        self._jobs[job_id] = job
        self._cache.used += job.cells

    def step(self) -> list[tuple[JobId, Output]]:
        """One more word of every job."""
        if self._options.step_seconds:
            time.sleep(self._options.step_seconds)
        if self._options.hang_word or self._options.die_word:
            self._stumble({word for job in self._jobs.values() for word in job.next_word})
        outputs = [(job_id, output) for job_id, job in self._jobs.items() for output in _say(job)]
        for job_id, output in outputs:
            if isinstance(output, Finished):
                self.cancel(job_id)
        return outputs

    def _stumble(self, words: set[str]) -> None:
        if self._options.hang_word in words:
            time.sleep(self._options.hang_seconds)
        if self._options.die_word in words:
            raise SystemExit(f"said '{self._options.die_word}'")

    def cancel(self, job_id: JobId) -> None:
        """Stop speaking."""
        job = self._jobs.pop(job_id, None)
        if job is not None:
            self._cache.used -= job.cells

    def reset(self) -> None:
        """Forget all jobs."""
        self._jobs.clear()
        self._cache.used = 0

    def close(self) -> None:
        """Nothing to free."""


def _texts(request: GenerationRequest) -> tuple[str, str]:
    """The whole prompt, and what of it is said again."""
    if isinstance(request.prompt, ChatPrompt):
        texts = [message["content"] for message in plain_messages(request.prompt.messages)]
        return "\n".join(texts), texts[-1]
    assert isinstance(request.prompt, TextPrompt)  # this model says that it takes no token ids
    return request.prompt.text, request.prompt.text


def _say(job: _Job) -> list[Output]:
    outputs: list[Output] = []
    if job.said < job.last:
        outputs = job.answer.add(job.words[job.said].encode())
        job.said += 1
    if job.said >= job.last and not (outputs and isinstance(outputs[-1], Finished)):
        outputs += job.answer.end("stop" if job.said >= len(job.words) else "length")
    return outputs

"""A deterministic backend that says the last message again, word by word: development, tests, load."""

import re
import time
from typing import Annotated

import msgspec

from jan.engine.answers.answer import Answer
from jan.engine.base import (
    ChatPrompt,
    Finished,
    GenerationRequest,
    JobId,
    ModelInfo,
    OnProgress,
    Output,
    TextPrompt,
)
from jan.engine.prompts.chat_template import plain_messages
from jan.engine.prompts.dialects import PLAIN, THINK_CLOSE, ReasoningOption, ToolFormatOption, dialect_of
from jan.engine.runtime.capacity import token_budget
from jan.engine.stats import CacheUse
from jan.schema.sampling import FinishReason

_WORD = re.compile(r"\S+\s*|\s+")


class EchoOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the echo engine.

    ``slots``: requests that run at once. ``repeat``: how often the text is said. ``piece``: characters of a token,
    0 for words. ``tool_format``, ``reasoning``: what is looked for in the text, as in a model's answer.

    To behave as a model under load does: each step waits for ``step_seconds``, as for a forward pass outside of
    Python, and then computes in Python for ``python_seconds`` of CPU time, as a generator written in Python does,
    so that the other threads have to wait for the interpreter's lock.

    For fire drills: at ``hang_word`` the engine hangs for ``hang_seconds``, at ``die_word`` its thread ends.
    """

    context: Annotated[int, msgspec.Meta(ge=1)] = 4096
    slots: Annotated[int, msgspec.Meta(ge=1)] = 256
    step_seconds: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.0
    python_seconds: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.0
    repeat: Annotated[int, msgspec.Meta(ge=0)] = 1
    piece: Annotated[int, msgspec.Meta(ge=0)] = 0
    tool_format: ToolFormatOption = "auto"
    reasoning: ReasoningOption = "off"
    hang_word: str = ""
    hang_seconds: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    die_word: str = ""


class _EchoJob(msgspec.Struct):
    """One answer under way: ``words`` again and again, ``last`` words in all, ``total`` if nothing limits it."""

    prompt_tokens: int
    prompt_text: str
    words: list[str]
    total: int
    limit: int
    answer: Answer
    last: int
    said: int = 0

    @property
    def reason(self) -> FinishReason:
        """Why it ends where nothing in the text ends it."""
        return "stop" if self.last == self.total else "length"

    @property
    def cells(self) -> int:
        """Words that it may come to hold."""
        return self.prompt_tokens + self.last

    @property
    def next_word(self) -> str | None:
        """The word said next; None after the last one."""
        return self.words[self.said % len(self.words)] if self.said < self.last else None


class EchoBackend:
    """A word is a token; each step says one more word of every job."""

    def __init__(self, options: EchoOptions) -> None:
        self._options = options
        self._jobs: dict[JobId, _EchoJob] = {}
        # A word that it is to remember is a token of a model's cache.
        self._cache = CacheUse(total=options.slots * options.context)
        self._dialect = dialect_of(THINK_CLOSE, options.tool_format, options.reasoning)

    def load(self, progress: OnProgress) -> ModelInfo:
        """Nothing to load."""
        progress(1.0)
        return ModelInfo(context_length=self._options.context, slots=self._options.slots, cache=self._cache)

    def prepare(self, request: GenerationRequest) -> _EchoJob:
        """Split into words."""
        prompt, said = _texts(request)
        count = len(_WORD.findall(prompt))
        limit = token_budget(request, count, self._options.context)
        words = self._split(said)
        total = len(words) * self._options.repeat
        # The end is decided in ``_say``, so that an answer of exactly its limit is complete.
        dialect = self._dialect if isinstance(request.prompt, ChatPrompt) else PLAIN
        return _EchoJob(
            prompt_tokens=count,
            prompt_text=prompt if request.echo else "",
            words=words,
            total=total,
            limit=limit,
            answer=Answer(request, count, limit + 1, dialect),
            last=min(limit, total),
        )

    def _split(self, text: str) -> list[str]:
        size = self._options.piece
        return [text[at : at + size] for at in range(0, len(text), size)] if size else _WORD.findall(text)

    def has_room(self, job: _EchoJob) -> bool:
        """Whether a slot is free."""
        return len(self._jobs) < self._options.slots

    def begin(self, job_id: JobId, job: _EchoJob) -> None:
        """Begin to speak."""
        self._jobs[job_id] = job
        self._cache.used += job.cells

    def step(self) -> list[tuple[JobId, Output]]:
        """One more word of every job."""
        self._compute()
        if self._options.hang_word or self._options.die_word:
            self._stumble({(job.next_word or "").strip() for job in self._jobs.values()} - {""})
        outputs = [(job_id, output) for job_id, job in self._jobs.items() for output in _say(job)]
        for job_id in [job_id for job_id, output in outputs if isinstance(output, Finished)]:
            self.cancel(job_id)
        return outputs

    def _compute(self) -> None:
        """Take the time of a model's step."""
        if self._options.step_seconds:
            time.sleep(self._options.step_seconds)
        if self._options.python_seconds:
            # By this thread's own clock: waiting for the interpreter's lock is no work done.
            until = time.thread_time() + self._options.python_seconds
            while time.thread_time() < until:
                pass

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


def _say(job: _EchoJob) -> list[Output]:
    word = job.next_word
    if word is None:  # there was nothing to say at all
        return job.answer.end(job.reason)
    outputs = job.answer.add(word.encode())
    job.said += 1
    if job.said == job.last and not isinstance(outputs[-1], Finished):
        outputs += job.answer.end(job.reason)
    return outputs

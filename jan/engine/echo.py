"""A deterministic backend that says the last message again, word by word: development, tests, load."""

import re
import time
from typing import Annotated

import msgspec

from jan.engine.base import (
    ChatPrompt,
    Delta,
    Finished,
    GenerationRequest,
    JobId,
    ModelInfo,
    Output,
    Progress,
    TextPrompt,
    token_budget,
)
from jan.engine.prompt import plain_messages
from jan.engine.text import TextAssembler

_WORD = re.compile(r"\S+\s*|\s+")


class EchoOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``step_seconds``: pause before each step, as a model's forward pass would take. ``repeat``: how often
    the text is said. ``slots``: how many requests run at once."""

    context: Annotated[int, msgspec.Meta(ge=1)] = 4096
    slots: Annotated[int, msgspec.Meta(ge=1)] = 256
    step_seconds: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.0
    repeat: Annotated[int, msgspec.Meta(ge=0)] = 1


class _Job(msgspec.Struct):
    prompt_tokens: int
    prompt_text: str
    words: list[str]
    limit: int
    text: TextAssembler
    said: int = 0


class EchoBackend:
    """A word is a token; each step says one more word of every job."""

    def __init__(self, options: EchoOptions) -> None:
        self._options = options
        self._jobs: dict[JobId, _Job] = {}

    def load(self, progress: Progress) -> ModelInfo:
        """Nothing to load."""
        progress(1.0)
        return ModelInfo(context_length=self._options.context)

    def prepare(self, request: GenerationRequest) -> _Job:
        """Split into words."""
        prompt, said = _texts(request)
        count = len(_WORD.findall(prompt))
        limit = token_budget(request, count, self._options.context)
        words = _WORD.findall(said) * self._options.repeat
        text = prompt if request.echo else ""
        return _Job(count, text, words, limit, TextAssembler(request.stop))

    def has_room(self, job: _Job) -> bool:
        """Whether a slot is free."""
        return len(self._jobs) < self._options.slots

    def begin(self, job_id: JobId, job: _Job) -> None:
        """Begin to speak."""
        self._jobs[job_id] = job

    def step(self) -> list[tuple[JobId, Output]]:
        """One more word of every job."""
        if self._options.step_seconds:
            time.sleep(self._options.step_seconds)
        outputs = [(job_id, output) for job_id, job in self._jobs.items() for output in _say(job)]
        for job_id, output in outputs:
            if isinstance(output, Finished):
                del self._jobs[job_id]
        return outputs

    def cancel(self, job_id: JobId) -> None:
        """Stop speaking."""
        self._jobs.pop(job_id, None)

    def reset(self) -> None:
        """Forget all jobs."""
        self._jobs.clear()

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
    done = job.said >= min(job.limit, len(job.words))
    outputs: list[Output] = []
    if not done:
        text, _ = job.text.push(job.words[job.said].encode())
        job.said += 1
        outputs.append(Delta(text=text, tokens=1))
        done = job.text.stopped or job.said >= min(job.limit, len(job.words))
    if done:
        text, _ = job.text.flush()
        complete = job.text.stopped or job.said >= len(job.words)
        outputs.append(Delta(text=text))
        outputs.append(
            Finished(
                reason="stop" if complete else "length",
                prompt_tokens=job.prompt_tokens,
                completion_tokens=job.said,
            )
        )
    return outputs

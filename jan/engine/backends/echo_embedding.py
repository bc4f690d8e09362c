"""A deterministic backend that embeds: texts with the same words have near vectors. For development and tests.

A text's vector counts its words in as many places as it has numbers, with a sign (Weinberger et al. 2009, feature
hashing).
"""

import math
import re
import struct
import time
from collections import deque
from zlib import crc32

import msgspec

from jan.engine.backends.echo_words import read_words
from jan.engine.backends.embedding_inputs import most_tokens
from jan.engine.base import (
    EmbeddingForms,
    EmbeddingPrompt,
    Finished,
    GenerationRequest,
    JobId,
    ModelInfo,
    OnProgress,
    Output,
    TokenizedText,
    TokenizerForms,
)
from jan.engine.fingerprint import fingerprint_of
from jan.engine.runtime.capacity import input_too_long
from jan.errors import InvalidRequest

_WORD = re.compile(r"\S+")


class _WordLists(msgspec.Struct):
    """A request: the words of its texts, those that are left, and the vectors so far. Nothing is generated."""

    prompt_tokens: int
    left: deque[list[str]]
    dimensions: int
    vectors: list[bytes] = msgspec.field(default_factory=list)
    limit: int = 0
    prompt_text: str = ""


class EchoEmbeddingBackend:
    """A backend without a model. A word is a token, and each step embeds one text of every request.

    Args:
        dimensions: numbers of a vector, which may be cut to any.
        context: most words of a text.
        slots: most requests that run at once.
        step_seconds: how long a step sleeps.
    """

    def __init__(self, dimensions: int, context: int, slots: int, step_seconds: float) -> None:
        self._dimensions = dimensions
        self._context = context
        self._slots = slots
        self._step_seconds = step_seconds
        self._jobs: dict[JobId, _WordLists] = {}

    def load(self, progress: OnProgress) -> ModelInfo:
        """Return at once: nothing is loaded."""
        progress(1.0)
        return ModelInfo(
            context_length=self._context,
            slots=self._slots,
            generates=False,
            embeds=EmbeddingForms(dimensions=self._dimensions, pooling="mean", matryoshka=None),
            tokenizer=TokenizerForms(kind="words"),
            fingerprint=fingerprint_of("echo"),
        )

    def read_tokens(self, request: GenerationRequest) -> TokenizedText:
        """Return the words of a request's Tokenization. Raises InvalidRequest for token ids."""
        return read_words(request)

    def prepare(self, request: GenerationRequest) -> _WordLists:
        """Split the texts into words. Raises InvalidRequest for one with too many, or one of token ids."""
        prompt = request.prompt
        assert isinstance(prompt, EmbeddingPrompt)  # ``check_capabilities`` has seen to it
        texts: deque[list[str]] = deque()
        most = most_tokens(request, self._context)
        for index, text in enumerate(prompt.inputs):
            named = prompt.name_of(index)
            if not isinstance(text, str):
                raise InvalidRequest(f"{named}: This model takes no token ids, only text.", param=named)
            words = _WORD.findall(text)
            if prompt.longest and prompt.longest[index]:
                words = words[: prompt.longest[index]]
            if most is not None:
                words = words[:most] if request.truncate_end else words[max(0, len(words) - most) :]
            if len(words) > self._context:
                raise input_too_long(named, str(len(words)), self._context)
            texts.append(words)
        total = sum(map(len, texts))
        return _WordLists(prompt_tokens=total, left=texts, dimensions=prompt.dimensions or self._dimensions)

    def has_room(self, job: _WordLists) -> bool:
        """Return True if a slot is free."""
        return len(self._jobs) < self._slots

    def begin(self, job_id: JobId, job: _WordLists) -> None:
        """Embed a request's texts from the next step on."""
        self._jobs[job_id] = job

    def step(self) -> list[tuple[JobId, Output]]:
        """Embed one text of every request."""
        time.sleep(self._step_seconds)
        for job in self._jobs.values():
            job.vectors.append(_vector(job.left.popleft(), self._dimensions, job.dimensions))
        ended = [(job_id, job) for job_id, job in self._jobs.items() if not job.left]
        for job_id, _ in ended:
            del self._jobs[job_id]
        return [
            (
                job_id,
                Finished(
                    reason="stop",
                    prompt_tokens=job.prompt_tokens,
                    completion_tokens=0,
                    vectors=tuple(job.vectors),
                ),
            )
            for job_id, job in ended
        ]

    def cancel(self, job_id: JobId) -> None:
        """Drop a running request."""
        self._jobs.pop(job_id, None)

    def reset(self) -> None:
        """Drop all running requests."""
        self._jobs.clear()

    def close(self) -> None:
        """Do nothing: there is nothing to free."""


def _vector(words: list[str], dimensions: int, kept: int) -> bytes:
    """Return the vector of words, cut to its first ``kept`` numbers, of length 1 unless all are 0."""
    numbers = [0.0] * dimensions
    for word in words:
        hashed = crc32(word.lower().encode(errors="replace"))
        numbers[(hashed >> 1) % dimensions] += 1 if hashed & 1 else -1
    length = math.hypot(*numbers[:kept]) or 1.0
    return struct.pack(f"<{kept}f", *(number / length for number in numbers[:kept]))

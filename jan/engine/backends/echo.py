"""A deterministic backend that repeats the last message, word by word: for development, tests and load."""

import time
from typing import Annotated

import msgspec

from jan.engine.answers.answer import Answer
from jan.engine.backends.echo_embedding import EchoEmbeddingBackend
from jan.engine.backends.echo_words import WORD, read_words, texts_of
from jan.engine.backends.lacking import ECHO
from jan.engine.base import (
    ChatForms,
    ChatPrompt,
    Finished,
    GenerationRequest,
    JobId,
    ModelInfo,
    OnProgress,
    Output,
    PromptNotes,
    TextPrompt,
    TokenizedText,
    TokenizerForms,
)
from jan.engine.fingerprint import fingerprint_of
from jan.engine.prompts.abilities import TemplateAbilities
from jan.engine.prompts.dialects import PLAIN, Dialect, ReasoningOption, ToolFormatOption, dialect_named
from jan.engine.prompts.normalise import hidden_members
from jan.engine.prompts.template_options import check_options, ignored_options
from jan.engine.runtime.capacity import token_budget
from jan.engine.stats import CacheUse
from jan.schema.sampling import FinishReason


class EchoOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the echo engine.

    ``context``: most tokens of one request, prompt and answer together.
    ``slots``: most requests that run at once.
    ``repeat``: how often the text is repeated.
    ``piece``: characters of a token; 0: a token is a word.
    ``dimensions``: numbers of a vector, for a model that embeds and generates nothing; 0: it generates.
    ``tool_format``, ``reasoning``: the form of tool calls and reasoning in the text, as in a model's answer.

    To behave like a model under load, each step sleeps for ``step_seconds``, like a forward pass outside Python.
    Then it computes in Python for ``python_seconds`` of CPU time, like a generator written in Python, so the other
    threads wait for the interpreter's lock.

    To test failures: at ``hang_word`` the engine hangs for ``hang_seconds``, at ``die_word`` its thread ends.
    """

    context: Annotated[int, msgspec.Meta(ge=1)] = 4096
    slots: Annotated[int, msgspec.Meta(ge=1)] = 256
    step_seconds: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.0
    python_seconds: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.0
    repeat: Annotated[int, msgspec.Meta(ge=0)] = 1
    piece: Annotated[int, msgspec.Meta(ge=0)] = 0
    dimensions: Annotated[int, msgspec.Meta(ge=0, le=65_536)] = 0
    tool_format: ToolFormatOption = "auto"
    reasoning: ReasoningOption = "off"
    hang_word: str = ""
    hang_seconds: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    die_word: str = ""


class _EchoJob(msgspec.Struct):
    """One running answer: ``words`` repeated, up to ``last`` words.

    ``total``: the words if nothing limited them. ``limit``: most tokens of the answer. ``said``: words so far.
    """

    prompt_tokens: int
    prompt_text: str
    words: list[str]
    total: int
    limit: int
    answer: Answer
    last: int
    said: int = 0
    notes: PromptNotes = PromptNotes()

    @property
    def reason(self) -> FinishReason:
        """Why the answer ends after its last word."""
        return "stop" if self.last == self.total else "length"

    @property
    def reserved_tokens(self) -> int:
        """Words of the prompt and of the longest possible answer."""
        return self.prompt_tokens + self.last

    @property
    def next_word(self) -> str | None:
        """The word that comes next; None after the last one."""
        return self.words[self.said % len(self.words)] if self.said < self.last else None


class EchoBackend:
    """A backend without a model. A word is a token, and each step adds one word to every answer."""

    Options = EchoOptions

    def __init__(self, options: EchoOptions) -> None:
        self._options = options
        self._jobs: dict[JobId, _EchoJob] = {}
        # Words count as tokens of a key-value cache.
        self._cache = CacheUse(total=options.slots * options.context)
        self._dialect = dialect_named(options.tool_format, options.reasoning)

    def for_model(self) -> "EchoBackend | EchoEmbeddingBackend":
        """Return the backend of a model that generates, or of one that embeds."""
        options = self._options
        if not options.dimensions:
            return self
        return EchoEmbeddingBackend(options.dimensions, options.context, options.slots, options.step_seconds)

    def load(self, progress: OnProgress) -> ModelInfo:
        """Return at once: nothing is loaded."""
        progress(1.0)
        return ModelInfo(
            context_length=self._options.context,
            slots=self._options.slots,
            cache=self._cache,
            unserved=ECHO,
            chats=ChatForms(dialect=self._dialect.tools, tools="native", reasoning=self._dialect.reasoning),
            tokenizer=TokenizerForms(kind="words"),
            fingerprint=fingerprint_of("echo"),
        )

    def read_tokens(self, request: GenerationRequest) -> TokenizedText:
        """Return the words of a request's Tokenization. Raises InvalidRequest for token ids."""
        return read_words(request)

    def prepare(self, request: GenerationRequest) -> _EchoJob:
        """Split the prompt into words. Raises InvalidRequest if they fill the context."""
        notes = _notes(request, self._dialect)
        assert isinstance(request.prompt, ChatPrompt | TextPrompt)  # ``ModelInfo`` offers no others
        prompt, said = texts_of(request.prompt)
        words = self._split(said)
        alike = said is prompt and not self._options.piece
        count = len(words) if alike else len(WORD.findall(prompt))
        limit = token_budget(request, count, self._options.context)
        total = len(words) * self._options.repeat
        if words and (request.ignore_eos or total < request.min_tokens):
            total = limit + 1 if request.ignore_eos else request.min_tokens
        # limit + 1: ``_add_word`` decides the end, so that an answer of exactly its limit ends with "stop".
        dialect = self._dialect if isinstance(request.prompt, ChatPrompt) else PLAIN
        return _EchoJob(
            prompt_tokens=count,
            prompt_text=prompt if request.echo else "",
            words=words,
            total=total,
            limit=limit,
            answer=Answer(request, count, limit + 1, dialect),
            last=min(limit, total),
            notes=notes,
        )

    def _split(self, text: str) -> list[str]:
        size = self._options.piece
        return [text[at : at + size] for at in range(0, len(text), size)] if size else WORD.findall(text)

    def has_room(self, job: _EchoJob) -> bool:
        """Return True if a slot is free."""
        return len(self._jobs) < self._options.slots

    def begin(self, job_id: JobId, job: _EchoJob) -> None:
        """Start an answer at the next step."""
        self._jobs[job_id] = job
        self._cache.used += job.reserved_tokens

    def step(self) -> list[tuple[JobId, Output]]:
        """Add one word to every answer."""
        self._compute()
        if self._options.hang_word or self._options.die_word:
            self._fail_at({(job.next_word or "").strip() for job in self._jobs.values()} - {""})
        outputs = [(job_id, output) for job_id, job in self._jobs.items() for output in _add_word(job)]
        for job_id in [job_id for job_id, output in outputs if isinstance(output, Finished)]:
            self.cancel(job_id)
        return outputs

    def _compute(self) -> None:
        """Take as long as a model's step."""
        if self._options.step_seconds:
            time.sleep(self._options.step_seconds)
        if self._options.python_seconds:
            # This thread's own CPU time, because waiting for the interpreter's lock is no work.
            until = time.thread_time() + self._options.python_seconds
            while time.thread_time() < until:
                pass

    def _fail_at(self, words: set[str]) -> None:
        if self._options.hang_word in words:
            time.sleep(self._options.hang_seconds)
        if self._options.die_word in words:
            raise SystemExit(f"said '{self._options.die_word}'")

    def cancel(self, job_id: JobId) -> None:
        """Stop an answer and free its slot."""
        job = self._jobs.pop(job_id, None)
        if job is not None:
            self._cache.used -= job.reserved_tokens

    def reset(self) -> None:
        """Drop all running answers."""
        self._jobs.clear()
        self._cache.used = 0

    def close(self) -> None:
        """Do nothing: there is nothing to free."""


def _notes(request: GenerationRequest, dialect: Dialect) -> PromptNotes:
    """Return what has no meaning without a chat template. Raises InvalidRequest for variables of a template."""
    prompt = request.prompt
    if not isinstance(prompt, ChatPrompt):
        return PromptNotes()
    check_options(prompt, frozenset())
    hidden = hidden_members(prompt, TemplateAbilities())
    return PromptNotes(
        ignored=(*ignored_options(prompt, frozenset()), *hidden),
        call_ids=dialect.calls.ids,
    )


def _add_word(job: _EchoJob) -> list[Output]:
    word = job.next_word
    if word is None:  # the text is empty
        return job.answer.end(job.reason)
    outputs = job.answer.add(word.encode())
    job.said += 1
    if job.said == job.last and not isinstance(outputs[-1], Finished):
        outputs += job.answer.end(job.reason)
    return outputs

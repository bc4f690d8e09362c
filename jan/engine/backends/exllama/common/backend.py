"""Backend over a dynamic generator: paged attention, continuous batching, one step an iteration.

Stop strings, tool calls and text are ours (``Answer``), as with every engine; the library gets token ids and
stop tokens only. What it asserts or reads out of bounds is checked before it sees it. What calls the library is
written by each engine.
"""

import gc
import secrets
from abc import ABC, abstractmethod
from contextlib import ExitStack
from typing import Any, Protocol

import msgspec
import structlog

from jan.engine.answers.answer import Answer
from jan.engine.answers.logprobs import token_logprob
from jan.engine.backends.exllama.common.device import Device
from jan.engine.backends.exllama.common.folder import FolderFormats, ModelFolder
from jan.engine.backends.exllama.common.logits import Sampled
from jan.engine.backends.exllama.common.options import ExLlamaOptions
from jan.engine.backends.exllama.common.size import PAGE, Size
from jan.engine.backends.exllama.common.tokenizer import FolderTokens
from jan.engine.base import (
    ChatPrompt,
    Delta,
    Finished,
    GenerationRequest,
    JobId,
    ModelInfo,
    OnProgress,
    Output,
    TextPrompt,
)
from jan.engine.formats import format_refused
from jan.engine.grammars.constraint import Constraint
from jan.engine.prompts.dialects import PLAIN, Dialect
from jan.engine.runtime.capacity import prompt_too_long, token_budget
from jan.engine.stats import CacheUse
from jan.errors import ConfigurationError, InvalidRequest, JanError

log = structlog.get_logger(__name__)


class Loaded(Protocol):
    """Weights, cache and the library's ``generator`` over them."""

    generator: Any

    def load(self, folder: ModelFolder, draft: ModelFolder | None, progress: OnProgress) -> None:
        """Load; raises ConfigurationError for what the library refuses, MemoryError if it does not fit."""
        ...

    def forget_jobs(self) -> None:
        """After an exception in a step: it belongs to no job, and what the pages hold is not known any more."""
        ...

    def close(self) -> None:
        """Free cache and weights."""
        ...


class Prepared(msgspec.Struct):
    """A tokenised request; ``job`` is the library's, None where nothing is to be generated."""

    request: GenerationRequest
    tokens: list[int]
    limit: int
    prompt_text: str
    constraint: Constraint | None
    dialect: Dialect
    job: Any

    @property
    def prompt_tokens(self) -> int:
        """Length of the prompt in tokens."""
        return len(self.tokens)


class _Running:
    """A begun job."""

    def __init__(self, prepared: Prepared) -> None:
        self.job: Any = prepared.job
        self.top_logprobs = prepared.request.logprobs
        self.answer = Answer(prepared.request, len(prepared.tokens), prepared.limit, prepared.dialect)


class ExLlamaBackend(ABC):
    """One model folder, its cache and the answers under way. ``reserve``: cells of the cache that a job takes
    beyond its tokens and those guessed ahead."""

    name = ""
    formats: FolderFormats
    reserve = 0

    def __init__(self, options: ExLlamaOptions, device: Device) -> None:
        self._options = options
        self._folder = ModelFolder(options.model, self.formats)
        self._draft = ModelFolder(options.draft_model, self.formats) if options.draft_model else None
        self._size = Size(options, self._folder, self._draft, self.reserve)
        self._device = device
        self._device.check()
        self._running: dict[JobId, _Running] = {}
        self._cache = CacheUse(total=self._size.cells)
        # Of this run alone: nobody can compute what a hash begins with.
        self._secret = secrets.token_bytes(32)

    @abstractmethod
    def _make_loaded(self, gpus: int) -> Loaded:
        """Import what calls the library, which is open now."""

    @abstractmethod
    def _make_job(
        self, request: GenerationRequest, tokens: list[int], limit: int, constraint: Constraint | None
    ) -> Any:
        """The library's job, with its ``sampled`` tokens."""

    @abstractmethod
    def _free_pages(self) -> int:
        """Pages that no job holds."""

    @abstractmethod
    def _start(self, job: Any) -> None:
        """Reserve the job's pages, at once, so that has_room sees what is left."""

    @abstractmethod
    def _advance(self) -> dict[int, JanError]:
        """One iteration; what failed in it, by the id() of the library's job."""

    def load(self, progress: OnProgress) -> ModelInfo:
        """Load weights and make the cache; raises ConfigurationError if that can't be."""
        progress(0.0)
        self._tokens = FolderTokens(
            self._folder, tool_format=self._options.tool_format, reasoning=self._options.reasoning
        )
        self._check_draft()
        attention = self._device.open()
        free = self._device.free_bytes()
        self._size.check(free)
        self._loaded = self._make_loaded(len(free))
        with ExitStack() as failed:
            failed.callback(self._loaded.close)
            try:
                self._loaded.load(self._folder, self._draft, lambda part: progress(0.1 + 0.9 * part))
            except MemoryError as error:
                raise self._size.does_not_fit(free) from error
            failed.pop_all()
        self._generator = self._loaded.generator
        cache = self._options.cache_type
        log.info(f"{self.name} ready", attention=attention, cache_tokens=self._size.cells, cache=cache)
        progress(1.0)
        return ModelInfo(
            context_length=self._options.context,
            slots=self._options.slots,
            logprobs=True,
            output_formats=True,
            token_prompts=True,
            cache=self._cache,
            formats=self._tokens.grammars,
            details={"name": self._folder.path.name, "attention": attention},
        )

    def _check_draft(self) -> None:
        if self._draft and FolderTokens(self._draft).pieces != self._tokens.pieces:
            raise ConfigurationError(
                f"draft model {self._draft.path} has another vocabulary than {self._folder.path}"
            )

    def prepare(self, request: GenerationRequest) -> Prepared:
        """Template, tokenise, compile the output format, hash the pages; raises InvalidRequest."""
        tokens, dialect = self._tokens_of(request)
        limit = token_budget(request, len(tokens), self._options.context)
        if any(token >= len(self._tokens.pieces) for token in request.sampling.logit_bias):
            raise InvalidRequest(
                f"this model has {len(self._tokens.pieces)} tokens; a token id of logit_bias is beyond them",
                param="logit_bias",
            )
        constraint = self._tokens.grammars.compile(request.output, dialect)
        text = self._tokens.text_of(tokens) if request.echo else ""
        job = self._make_job(request, tokens, limit, constraint) if limit else None
        if job is not None:
            job.prepare_for_queue(self._generator, 0)
        return Prepared(request, tokens, limit, text, constraint, dialect, job)

    def _tokens_of(self, request: GenerationRequest) -> tuple[list[int], Dialect]:
        """The prompt, and how the answer to it is written."""
        prompt, model, dialect = request.prompt, self._tokens, PLAIN
        if isinstance(prompt, ChatPrompt):
            if model.template is None:
                raise InvalidRequest("this model has no chat template; use /completions", param="model")
            text = model.template.render(prompt)
            dialect = model.template.answer_dialect(prompt, text)
            tokens = self._tokenize(request, text, template=True)
        elif isinstance(prompt, TextPrompt):
            tokens = self._tokenize(request, prompt.text, template=False)
        else:
            tokens = list(prompt.tokens)
        if any(token >= len(model.pieces) for token in tokens):
            param = "messages" if isinstance(prompt, ChatPrompt) else "prompt"
            raise InvalidRequest(f"token ids must be below {len(model.pieces)}", param=param)
        # The first token must be sampled from something.
        return tokens or [model.begin_token], dialect

    def _tokenize(self, request: GenerationRequest, text: str, *, template: bool) -> list[int]:
        """Token ids; a text that can't fit, however it is cut, is refused unread: everybody's answers wait for
        this thread."""
        if (at_least := len(text.encode()) // self._tokens.longest_piece) > self._options.context:
            raise prompt_too_long(request, f"at least {at_least}", self._options.context)
        return self._tokens.tokenize(text, template=template)

    def has_room(self, job: Prepared) -> bool:
        """Whether a slot and the pages for the longest possible answer are free, and not too many prompts are
        being read: each step reads some of all of them, and the answers under way wait for it."""
        if len(self._running) >= self._options.slots:
            return False
        if job.job is None:
            return True
        reading = sum(not active.is_prefill_done() for active in self._generator.active_jobs)
        if reading >= self._options.prefills:
            return False
        return bool(job.job.current_new_pages_required() <= self._free_pages())

    def begin(self, job_id: JobId, job: Prepared) -> None:
        """Reserve the pages."""
        if job.job is not None:
            self._start(job.job)
        self._running[job_id] = _Running(job)
        self._count_cache()

    def _count_cache(self) -> None:
        """Pages that several answers share are counted once."""
        self._cache.used = self._size.cells - self._free_pages() * PAGE

    def step(self) -> list[tuple[JobId, Output]]:
        """One iteration: some of every new prompt, a token (or several that were guessed) of every answer."""
        outputs: list[tuple[JobId, Output]] = []
        new: list[Output]
        failed = self._advance()
        for job_id, running in list(self._running.items()):
            error = failed.get(id(running.job)) if failed else None
            new = [error] if error is not None else self._collect(running)
            if new and not isinstance(new[-1], Delta):
                self.cancel(job_id)
            outputs += [(job_id, output) for output in new]
        return outputs

    def _collect(self, running: _Running) -> list[Output]:
        """What the tokens of this step come to; tokens after the end are dropped."""
        if running.job is None:
            return running.answer.end("length")
        sampled, running.job.sampled = running.job.sampled, []
        if sampled:
            job = running.job
            running.answer.cached_tokens = job.cached_pages * PAGE + job.cached_tokens
        outputs: list[Output] = []
        for token in sampled:
            outputs += self._take(running, token)
            if not isinstance(outputs[-1], Delta):
                break
        return outputs

    def _take(self, running: _Running, sampled: Sampled) -> list[Output]:
        if sampled.failure:
            return [format_refused(sampled.failure, "response_format")]
        if sampled.token in self._tokens.stop_tokens:
            return running.answer.end("stop")
        pieces, top, logprob = self._tokens.pieces, running.top_logprobs, None
        if top is not None:
            logprob = token_logprob(sampled.logits.numpy()[: len(pieces)], sampled.token, top, pieces)
        outputs = running.answer.add(pieces[sampled.token], logprob)
        if sampled.complete and not isinstance(outputs[-1], Finished):
            outputs += running.answer.end("stop")
        return outputs

    def cancel(self, job_id: JobId) -> None:
        """Give the pages back; what was read stays cached."""
        running = self._running.pop(job_id, None)
        if running is not None and running.job is not None:
            self._generator.cancel(running.job)
            self._count_cache()

    def reset(self) -> None:
        """Forget all jobs and the whole cache."""
        self._running.clear()
        self._loaded.forget_jobs()
        self._count_cache()

    def close(self) -> None:
        """Free cache and weights."""
        self._running.clear()
        self._loaded.close()
        self._generator = None
        # The library's cache is in a cycle, and what was there when the server began is not looked at otherwise.
        gc.unfreeze()
        gc.collect()
        self._device.empty_cache()

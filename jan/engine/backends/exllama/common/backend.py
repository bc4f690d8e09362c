"""Backend over a library's dynamic generator: paged attention, continuous batching; one step is one iteration.

Text, stop strings and tool calls are ours (``Answer``), as in every engine. The library gets only token ids and
stop tokens. Values that the library would assert, or use as an index without a check, are checked before. Each
engine writes the calls to its own library. Paged attention: Kwon et al. 2023 (vLLM).
"""

import gc
import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import ExitStack
from types import MappingProxyType
from typing import Any

import structlog

from jan.engine.answers.answer import Answer
from jan.engine.answers.logprobs import token_logprob
from jan.engine.backends.common import TokenizedPrompt, TokenizedRequest, prepare_request, tokenize_prompt
from jan.engine.backends.exllama.common.device import Device
from jan.engine.backends.exllama.common.job_plan import JobPlan, plan_of
from jan.engine.backends.exllama.common.loading import LoadedGenerator
from jan.engine.backends.exllama.common.logits import SampledToken
from jan.engine.backends.exllama.common.model_front import ExLlamaFront
from jan.engine.backends.exllama.common.options import ExLlamaOptions
from jan.engine.backends.exllama.common.salting import salt_of
from jan.engine.backends.exllama.common.size import PAGE
from jan.engine.backends.exllama.common.tokenizer import FolderTokenizer
from jan.engine.backends.prefix_sharing import PrefixSharing
from jan.engine.backends.shown_tokens import visible_pieces, with_end_token, with_token_id
from jan.engine.backends.token_reading import read_tokens
from jan.engine.base import Delta, Finished, GenerationRequest, JobId, ModelInfo, OnProgress, Output, TokenizedText
from jan.engine.fingerprint import fingerprint_of
from jan.engine.formats import format_refused
from jan.engine.stats import CacheUse
from jan.errors import ConfigurationError, JanError
from jan.schema.open_body import Unserved

log = structlog.get_logger(__name__)


class _Running:
    """A running job; ``job`` is the library's, None if nothing is to be generated."""

    def __init__(self, prepared: TokenizedRequest, model: FolderTokenizer) -> None:
        self.job: Any = prepared.library_job
        self.top_logprobs = prepared.request.logprobs
        self.wants_ids = prepared.request.token_ids
        self.format_param = prepared.request.output.named
        self.stop_tokens = prepared.rules.stop_tokens
        self.pieces = visible_pieces(prepared.request, prepared.dialect, model)
        self.answer = Answer(prepared.request, len(prepared.tokens), prepared.limit, prepared.dialect)


class ExLlamaBackend(ExLlamaFront, ABC):
    """One model folder, its key-value cache and the running answers.

    ``unserved``: parameters that the library can't serve.
    ``stops_early``: the library stops before a job's limit by as many tokens as it drafts.
    """

    unserved: Mapping[str, Unserved] = MappingProxyType({})
    stops_early = False

    def __init__(self, options: ExLlamaOptions, device: Device) -> None:
        super().__init__(options)
        self._device = device
        self._device.check()
        self._running: dict[JobId, _Running] = {}
        self._cache = CacheUse(total=self._size.cache_tokens)
        self._sharing = PrefixSharing(options.share_prefixes)
        # New in each run, so that nobody can compute the salts.
        self._secret = secrets.token_bytes(32)

    @abstractmethod
    def _make_loaded(self, gpus: int) -> LoadedGenerator:
        """Import the modules that call the library, which is open now. ``gpus``: number of GPUs."""

    @abstractmethod
    def _make_job(self, plan: JobPlan, salt: bytes) -> Any:
        """Make the library's job. ``salt``: that of the owner of its prefixes."""

    @abstractmethod
    def _free_pages(self) -> int:
        """Return the number of pages that no job holds."""

    @abstractmethod
    def _start(self, job: Any) -> None:
        """Hand a job to the generator and reserve its pages at once, so that ``has_room`` sees what is left."""

    @abstractmethod
    def _advance(self) -> dict[int, JanError]:
        """Run one iteration. Returns the errors of the jobs that failed, by ``id()`` of the library's job."""

    def load(self, progress: OnProgress) -> ModelInfo:
        """Load the weights and allocate the cache. Raises ConfigurationError if that fails."""
        progress(0.0)
        self._tokenizer = FolderTokenizer(
            self._folder,
            tool_format=self._options.tool_format,
            reasoning=self._options.reasoning,
            control_tokens=self._options.control_tokens_in_content,
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
        log.info(f"{self.name} ready", attention=attention, cache_tokens=self._size.cache_tokens, cache=cache)
        progress(1.0)
        return ModelInfo(
            context_length=self._options.context,
            slots=self._options.slots,
            logprobs=True,
            output_formats=True,
            token_prompts=True,
            fills_in=self._tokenizer.fill_tokens is not None,
            cache=self._cache,
            formats=self._tokenizer.grammars,
            chats=self._tokenizer.template.forms if self._tokenizer.template else None,
            unserved=self.unserved,
            tokenizer=self._tokenizer.forms,
            details={"name": self._folder.path.name, "attention": attention},
            fingerprint=fingerprint_of(self.name, self.name, self._folder.weights),
        )

    def _check_draft(self) -> None:
        if self._draft and FolderTokenizer(self._draft).pieces != self._tokenizer.pieces:
            raise ConfigurationError(
                f"Draft model {self._draft.path} has another vocabulary than {self._folder.path}."
            )

    def tokenize(self, request: GenerationRequest) -> TokenizedPrompt:
        """Render and tokenise a request's prompt, on any thread. Raises InvalidRequest."""
        return tokenize_prompt(request, self._tokenizer, self._options.context)

    def read_tokens(self, request: GenerationRequest) -> TokenizedText:
        """Return the tokens of a request's Tokenization, on any thread. Raises InvalidRequest."""
        return read_tokens(request, self._tokenizer)

    def prepare(self, request: GenerationRequest, prompt: TokenizedPrompt | None = None) -> TokenizedRequest:
        """Check a request, whose prompt may be tokenised already, and hash its prompt's pages.

        Raises InvalidRequest.
        """
        prepared = prepare_request(
            request, prompt or self.tokenize(request), self._tokenizer, self._options.context
        )
        if prepared.limit:
            drafted = self._options.drafted_tokens if self.stops_early else 0
            plan = plan_of(prepared, len(self._tokenizer.pieces), drafted)
            salt = salt_of(self._sharing.owner_of(request), self._secret)
            prepared.library_job = self._make_job(plan, salt)
            prepared.library_job.prepare_for_queue(self._generator, 0)
        return prepared

    def has_room(self, job: TokenizedRequest) -> bool:
        """Return True if a slot and the pages for the longest possible answer are free, and prefills are few.

        Each step prefills a chunk of every prompt in prefill, and all decoding answers wait for that.
        """
        if len(self._running) >= self._options.slots:
            return False
        if job.library_job is None:
            return True
        in_prefill = sum(not active.is_prefill_done() for active in self._generator.active_jobs)
        if in_prefill >= self._options.prefills:
            return False
        return bool(job.library_job.current_new_pages_required() <= self._free_pages())

    def begin(self, job_id: JobId, job: TokenizedRequest) -> None:
        """Start a job and reserve its pages."""
        if job.library_job is not None:
            self._start(job.library_job)
        self._running[job_id] = _Running(job, self._tokenizer)
        self._count_cache()

    def _count_cache(self) -> None:
        """Update the cache's use. Pages that several answers share count once."""
        self._cache.used = self._size.cache_tokens - self._free_pages() * PAGE

    def step(self) -> list[tuple[JobId, Output]]:
        """Run one iteration: prefill a chunk of new prompts, and decode one or more tokens of each answer."""
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
        """Return the outputs of this step's tokens. Guessed tokens after the end are dropped."""
        if running.job is None:
            return running.answer.end("length")
        sampled, running.job.sampled = running.job.sampled, []
        if sampled:
            job = running.job
            cached = job.cached_pages * PAGE + job.cached_tokens
            running.answer.cached_tokens = self._sharing.reported(cached)
        outputs: list[Output] = []
        for token in sampled:
            outputs += self._add_token(running, token)
            if not isinstance(outputs[-1], Delta):
                break
        return outputs

    def _add_token(self, running: _Running, sampled: SampledToken) -> list[Output]:
        if sampled.failure:
            return [format_refused(sampled.failure, running.format_param)]
        pieces, top, logprob = self._tokenizer.pieces, running.top_logprobs, None
        ids = running.wants_ids
        hidden = sampled.token in running.stop_tokens and not running.answer.shows_stop(sampled.token)
        if hidden and not ids:
            return running.answer.end("stop")
        if top is not None:
            # [vocab + padding] -> [vocab]
            logprob = token_logprob(sampled.logits.numpy()[: len(pieces)], sampled.token, top, pieces, ids=ids)
        if hidden:
            return with_end_token(running.answer.end("stop"), sampled.token, logprob)
        outputs = running.answer.add(running.pieces[sampled.token], logprob)
        if ids:
            outputs = with_token_id(outputs, sampled.token)
        ended = sampled.complete or sampled.token in running.stop_tokens
        if ended and not isinstance(outputs[-1], Finished):
            outputs += running.answer.end("stop")
        return outputs

    def cancel(self, job_id: JobId) -> None:
        """Free the pages; the tokens computed so far stay cached."""
        running = self._running.pop(job_id, None)
        if running is not None and running.job is not None:
            self._generator.cancel(running.job)
            self._count_cache()

    def reset(self) -> None:
        """Drop all jobs and clear the whole cache."""
        self._running.clear()
        self._loaded.forget_jobs()
        self._count_cache()

    def close(self) -> None:
        """Free the cache and the weights."""
        self._running.clear()
        self._loaded.close()
        self._generator = None
        # The library holds its cache in a reference cycle. Unfreeze first: the collector skips frozen objects.
        gc.unfreeze()
        gc.collect()
        self._device.empty_cache()

"""Backend over llama.cpp: our own continuous batching on its low-level API.

Every step is one ``llama_decode`` over a mixed batch: one token of every answer under way, and what fits
of the prompts that are still being read, so that a long prompt does not stop the others. The library is
cyllama (llama.cpp's C API for Python; it releases the GIL while it computes).
"""

import os
from typing import Annotated, Any, Literal

import cyllama.llama.llama_cpp as llama
import msgspec

from jan.engine.answers.answer import Answer
from jan.engine.backends.llamacpp.model import BUNDLED, GgufModel, resolve_model_file
from jan.engine.backends.llamacpp.sampler import TokenSampler, logprob_of
from jan.engine.backends.llamacpp.slots import Slot, Slots
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
from jan.engine.prompts.dialects import PLAIN, Dialect, ReasoningOption, ToolFormatOption
from jan.engine.runtime.capacity import prompt_too_long, token_budget
from jan.engine.stats import CacheUse
from jan.errors import ConfigurationError, InvalidRequest

Positive = Annotated[int, msgspec.Meta(ge=1)]


class LlamaCppOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``model``: a .gguf file or ``bundled``. ``context``: tokens of one request, prompt and answer; at most
    what the model was trained for. ``slots``: requests at once. ``cache_tokens``: cells of the cache for all
    slots together (default slots x context). ``threads``: 0 is one a core. ``batch``: tokens computed in one
    step at most. ``gpu_layers``: layers on the GPU, for builds that have one. ``tool_format``: how the model
    writes tool calls; ``reasoning``: whether what it thinks is told apart; ``auto`` goes by its chat template.
    ``share_prefixes``: who may reuse what of a prompt is cached: everybody, or its owner alone, so that nobody can
    find out by timing what others wrote."""

    model: str = BUNDLED
    context: Positive = 2048
    slots: Annotated[int, msgspec.Meta(ge=1, le=256)] = 8
    cache_tokens: Positive | None = None
    threads: Annotated[int, msgspec.Meta(ge=0)] = 0
    batch: Positive = 256
    gpu_layers: Annotated[int, msgspec.Meta(ge=0)] = 0
    tool_format: ToolFormatOption = "auto"
    reasoning: ReasoningOption = "auto"
    share_prefixes: Literal["all", "owner"] = "all"


class Prepared(msgspec.Struct):
    """A tokenised request."""

    request: GenerationRequest
    tokens: list[int]
    limit: int
    prompt_text: str
    constraint: Constraint | None
    dialect: Dialect

    @property
    def prompt_tokens(self) -> int:
        """Length of the prompt in tokens."""
        return len(self.tokens)


class _Sequence:
    """A begun job: ``feed`` are tokens that the model has not read yet, the last one's logits are wanted."""

    def __init__(self, job: Prepared, slot: Slot, shared: int, sampler: TokenSampler) -> None:
        self.slot = slot
        self.feed = job.tokens[shared:]
        self.sampler = sampler
        self.top_logprobs = job.request.logprobs
        self.answer = Answer(job.request, len(job.tokens), job.limit, job.dialect)
        self.answer.cached_tokens = shared


class LlamaCppBackend:
    """One GGUF model, its cache and the answers under way."""

    def __init__(self, options: LlamaCppOptions) -> None:
        self._options = options
        self._file = resolve_model_file(options.model)
        self._cells = options.cache_tokens or options.slots * options.context
        if self._cells < options.context:
            raise ConfigurationError(
                f"cache_tokens is {self._cells}, which is less than context ({options.context})"
            )
        self._slots = Slots(options.slots, self._cells)
        self._sequences: dict[JobId, _Sequence] = {}
        self._cache = CacheUse(total=self._cells)

    def load(self, progress: OnProgress) -> ModelInfo:
        """Load weights and make the cache; raises ConfigurationError if the file is no model."""
        progress(0.0)
        self._model = GgufModel(
            self._file,
            self._options.gpu_layers,
            tool_format=self._options.tool_format,
            reasoning=self._options.reasoning,
        )
        self._context_length = min(self._options.context, self._model.trained_context)
        progress(0.8)
        self._batch_size = max(self._options.batch, self._options.slots)
        try:
            self._context = llama.LlamaContext(self._model.weights, self._context_parameters())
        except (ValueError, RuntimeError, MemoryError) as error:
            raise ConfigurationError(f"a cache of {self._cells} tokens can't be made: {error}") from error
        self._batch = llama.LlamaBatch(n_tokens=self._batch_size, embd=0, n_seq_max=self._options.slots)
        progress(1.0)
        details = {"name": self._model.name, "file": self._file.name}
        return ModelInfo(
            context_length=self._context_length,
            slots=self._options.slots,
            logprobs=True,
            output_formats=True,
            token_prompts=True,
            cache=self._cache,
            formats=self._model.grammars,
            details=details,
        )

    def _context_parameters(self) -> Any:
        parameters = llama.LlamaContextParams()
        parameters.n_ctx = self._cells
        parameters.n_seq_max = self._options.slots
        parameters.n_batch = parameters.n_ubatch = self._batch_size
        # One pool of cells for all slots: a shared beginning is stored once.
        parameters.kv_unified = True
        parameters.n_threads = parameters.n_threads_batch = self._options.threads or _cores()
        return parameters

    def prepare(self, request: GenerationRequest) -> Prepared:
        """Template, tokenise, compile the output format; raises InvalidRequest."""
        tokens, dialect = self._tokens(request)
        limit = token_budget(request, len(tokens), self._context_length)
        if any(token >= len(self._model.pieces) for token in request.sampling.logit_bias):
            raise InvalidRequest(
                f"this model has {len(self._model.pieces)} tokens; a token id of logit_bias is beyond them",
                param="logit_bias",
            )
        constraint = self._model.grammars.compile(request.output, dialect)
        text = self._model.text_of(tokens) if request.echo else ""
        return Prepared(request, tokens, limit, text, constraint, dialect)

    def _tokens(self, request: GenerationRequest) -> tuple[list[int], Dialect]:
        """The prompt, and how the answer to it is written."""
        prompt, model, dialect = request.prompt, self._model, PLAIN
        if isinstance(prompt, ChatPrompt):
            if model.template is None:
                raise InvalidRequest("this model has no chat template; use /completions", param="model")
            text = model.template.render(prompt)
            dialect = model.template.answer_dialect(prompt, text)
            tokens = model.without_second_bos(self._tokenize(request, text))
        elif isinstance(prompt, TextPrompt):
            tokens = self._tokenize(request, prompt.text)
        else:
            tokens = list(prompt.tokens)
            if any(token >= len(model.pieces) for token in tokens):
                raise InvalidRequest(f"token ids must be below {len(model.pieces)}", param="prompt")
        # The first token must be sampled from something; a model without BOS begins after an end.
        return tokens or [model.begin_token], dialect

    def _tokenize(self, request: GenerationRequest, text: str) -> list[int]:
        """Token ids; a text that can't fit, however it is cut, is refused unread: megabytes take seconds, and
        everybody's answers wait for this thread."""
        if (at_least := len(text.encode()) // self._model.longest_piece) > self._context_length:
            raise prompt_too_long(request, f"at least {at_least}", self._context_length)
        return self._model.tokenize(text, special=True)

    def has_room(self, job: Prepared) -> bool:
        """Whether a slot and the cells for the longest possible answer are free."""
        return self._slots.has_room(len(job.tokens) + job.limit)

    def begin(self, job_id: JobId, job: Prepared) -> None:
        """Take a slot and what of the prompt is cached already."""
        # First, since what fails after a slot is taken would keep it.
        sampler = TokenSampler(job.request.sampling, len(self._model.pieces), job.constraint)
        known = job.tokens if self._model.keeps_positions else []
        owner = job.request.owner if self._options.share_prefixes == "owner" else ""
        slot, source, shared = self._slots.acquire(known, len(job.tokens) + job.limit, owner)
        self._context.memory_seq_rm(slot.number, shared if slot is source else 0, -1)
        if slot is not source and shared:
            self._context.memory_seq_cp(source.number, slot.number, 0, shared)
        slot.tokens = job.tokens[:shared]
        for stale in self._slots.stale():
            self._empty(stale)
        self._sequences[job_id] = _Sequence(job, slot, shared, sampler)
        self._cache.used = self._slots.reserved

    def step(self) -> list[tuple[JobId, Output]]:
        """Compute one batch, sample one token for each answer whose prompt is read."""
        outputs: list[tuple[JobId, Output]] = []
        for job_id in [id_ for id_, seq in self._sequences.items() if seq.answer.exhausted]:
            outputs += self._finish(job_id, self._sequences[job_id].answer.end("length"))
        sampled = self._fill_batch()
        if self._batch.n_tokens:
            self._context.decode(self._batch)
        for job_id, index in sampled:
            outputs += self._sample(job_id, index)
        return outputs

    def _fill_batch(self) -> list[tuple[JobId, int]]:
        """Answers first, one token each; then prompts. Returns whose logits stand where."""
        self._batch.clear()
        wanted = []
        for job_id, sequence in sorted(self._sequences.items(), key=lambda item: len(item[1].feed) > 1):
            slot, take = sequence.slot, sequence.feed[: self._batch_size - self._batch.n_tokens]
            complete = len(take) == len(sequence.feed)
            for offset, token in enumerate(take):
                last = complete and offset == len(take) - 1
                self._batch.add(token, len(slot.tokens) + offset, [slot.number], last)
            slot.tokens += take
            del sequence.feed[: len(take)]
            if take and complete:
                wanted.append((job_id, self._batch.n_tokens - 1))
        return wanted

    def _sample(self, job_id: JobId, index: int) -> list[tuple[JobId, Output]]:
        sequence = self._sequences[job_id]
        token = sequence.sampler.sample(self._context, index)
        if sequence.sampler.failure:
            return self._finish(job_id, [format_refused(sequence.sampler.failure, "response_format")])
        if token in self._model.stop_tokens:
            return self._finish(job_id, sequence.answer.end("stop"))
        pieces, top = self._model.pieces, sequence.top_logprobs
        logprob = None if top is None else logprob_of(self._context, index, token, top, pieces)
        outputs = sequence.answer.add(pieces[token], logprob)
        if sequence.sampler.complete and not isinstance(outputs[-1], Finished):
            outputs += sequence.answer.end("stop")
        sequence.feed.append(token)
        return self._finish(job_id, outputs)

    def _finish(self, job_id: JobId, outputs: list[Output]) -> list[tuple[JobId, Output]]:
        if not isinstance(outputs[-1], Delta):
            self.cancel(job_id)
        return [(job_id, output) for output in outputs]

    def cancel(self, job_id: JobId) -> None:
        """Give the slot back; what it read stays cached."""
        sequence = self._sequences.pop(job_id, None)
        if sequence is not None:
            sequence.sampler.close()
            self._slots.release(sequence.slot)
            self._cache.used = self._slots.reserved

    def _empty(self, slot: Slot) -> None:
        self._context.memory_seq_rm(slot.number, 0, -1)
        slot.tokens.clear()

    def reset(self) -> None:
        """Forget all jobs and the whole cache."""
        for job_id in list(self._sequences):
            self.cancel(job_id)
        self._slots.clear()
        self._cache.used = 0
        self._context.kv_cache_clear()

    def close(self) -> None:
        """Free cache and weights."""
        self._batch.close()
        self._context.close()
        self._model.close()


def _cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

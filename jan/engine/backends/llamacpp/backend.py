"""Backend over llama.cpp: our own continuous batching on its low-level API.

Each step is one ``llama_decode`` of a mixed batch: one token of every running answer, then as many prompt tokens
as fit. So a long prefill does not stop the decoding of other answers (chunked prefill, Agrawal et al. 2023,
SARATHI). The library is cyllama: llama.cpp's C API for Python, which releases the GIL while it computes.
"""

from typing import Any

import cyllama.llama.llama_cpp as llama

from jan.engine.answers.answer import Answer
from jan.engine.backends.common import TokenizedPrompt, TokenizedRequest, prepare_request, tokenize_prompt
from jan.engine.backends.llamacpp.embedding_backend import LlamaCppEmbeddingBackend
from jan.engine.backends.llamacpp.gguf_files import BUNDLED
from jan.engine.backends.llamacpp.model import GgufModel
from jan.engine.backends.llamacpp.model_front import LlamaCppFront
from jan.engine.backends.llamacpp.options import LlamaCppOptions
from jan.engine.backends.llamacpp.pooling import pooling_of
from jan.engine.backends.llamacpp.prompt_scores import TOKENS_A_STEP, PromptScores
from jan.engine.backends.llamacpp.sampler import TokenSampler, logprob_of
from jan.engine.backends.llamacpp.scoring_backend import LlamaCppScoringBackend
from jan.engine.backends.llamacpp.slots import Slot, Slots
from jan.engine.backends.prefix_sharing import PrefixSharing
from jan.engine.backends.shown_tokens import visible_pieces, with_end_token, with_token_id
from jan.engine.backends.token_reading import read_tokens
from jan.engine.base import Delta, Finished, GenerationRequest, JobId, ModelInfo, OnProgress, Output, TokenizedText
from jan.engine.fingerprint import fingerprint_of
from jan.engine.formats import format_refused
from jan.engine.refusals import reason_of
from jan.engine.stats import CacheUse
from jan.errors import ConfigurationError


class _Sequence:
    """A running job. ``pending_tokens``: tokens not computed yet; the last one's logits are sampled."""

    def __init__(
        self, job: TokenizedRequest, slot: Slot, cached: int, sampler: TokenSampler, model: GgufModel
    ) -> None:
        self.slot = slot
        self.pending_tokens = job.tokens[cached:]
        self.sampler = sampler
        self.top_logprobs = job.request.logprobs
        self.wants_ids = job.request.token_ids
        self.format_param = job.request.output.named
        self.stop_tokens = job.rules.stop_tokens
        self.pieces = visible_pieces(job.request, job.dialect, model)
        top = job.request.prompt_logprobs
        self.scores = None if top is None else PromptScores(job.tokens, top, model.pieces)
        self.answer = Answer(job.request, len(job.tokens), job.limit, job.dialect)


class LlamaCppBackend(LlamaCppFront):
    """One GGUF model, its key-value cache and the running answers."""

    def __init__(self, options: LlamaCppOptions) -> None:
        super().__init__(options)
        self._slots = Slots(options.slots, self._cache_tokens)
        self._sharing = PrefixSharing(options.share_prefixes)
        self._sequences: dict[JobId, _Sequence] = {}
        self._cache = CacheUse(total=self._cache_tokens)

    def for_model(self) -> "LlamaCppBackend | LlamaCppEmbeddingBackend":
        """Return the backend for the model that the file has: this one, or one that embeds or scores."""
        pooling = pooling_of(self._options, self._file)
        if pooling == "rank":
            return LlamaCppScoringBackend(self._options, self._file)
        return LlamaCppEmbeddingBackend(self._options, self._file, pooling) if pooling else self

    def load(self, progress: OnProgress) -> ModelInfo:
        """Load the weights and allocate the cache. Raises ConfigurationError if the file is not a model."""
        progress(0.0)
        self._model = GgufModel(
            self._file,
            self._options.gpu_layers,
            tool_format=self._options.tool_format,
            reasoning=self._options.reasoning,
            control_tokens=self._options.control_tokens_in_content,
        )
        self._context_length = min(self._options.context, self._model.trained_context)
        progress(0.8)
        self._batch_size = max(self._options.batch, self._options.slots)
        try:
            self._context = llama.LlamaContext(self._model.weights, self._context_parameters())
        except (ValueError, RuntimeError, MemoryError) as error:
            raise ConfigurationError(
                f"A cache of {self._cache_tokens} tokens can't be made: {reason_of(error)}."
            ) from error
        self._batch = llama.LlamaBatch(n_tokens=self._batch_size, embd=0, n_seq_max=self._options.slots)
        progress(1.0)
        details = {"name": self._model.name, "file": self._file.name}
        return ModelInfo(
            context_length=self._context_length,
            slots=self._options.slots,
            logprobs=True,
            output_formats=True,
            token_prompts=True,
            fills_in=self._model.fill_tokens is not None,
            cache=self._cache,
            formats=self._model.grammars,
            chats=self._model.template.forms if self._model.template else None,
            tokenizer=self._model.tokenizer,
            demo=self._options.model == BUNDLED,
            details=details,
            fingerprint=fingerprint_of("llamacpp", "cyllama", [self._file]),
        )

    def _context_parameters(self) -> Any:
        parameters = llama.LlamaContextParams()
        parameters.n_ctx = self._cache_tokens
        parameters.n_seq_max = self._options.slots
        parameters.n_batch = parameters.n_ubatch = self._batch_size
        # One pool for all slots, so that a shared prefix is stored once.
        parameters.kv_unified = True
        parameters.n_threads = parameters.n_threads_batch = self._options.thread_count
        return parameters

    def tokenize(self, request: GenerationRequest) -> TokenizedPrompt:
        """Render and tokenise a request's prompt, on any thread. Raises InvalidRequest."""
        return tokenize_prompt(request, self._model, self._context_length)

    def read_tokens(self, request: GenerationRequest) -> TokenizedText:
        """Return the tokens of a request's Tokenization, on any thread. Raises InvalidRequest."""
        return read_tokens(request, self._model)

    def prepare(self, request: GenerationRequest, prompt: TokenizedPrompt | None = None) -> TokenizedRequest:
        """Check a request, whose prompt may be tokenised already. Raises InvalidRequest."""
        return prepare_request(request, prompt or self.tokenize(request), self._model, self._context_length)

    def has_room(self, job: TokenizedRequest) -> bool:
        """Return True if a slot is free, and enough cache for the longest possible answer."""
        return self._slots.has_room(len(job.tokens) + job.limit)

    def begin(self, job_id: JobId, job: TokenizedRequest) -> None:
        """Take a slot, and reuse the prompt's cached prefix."""
        # Before the slot is taken, because an exception after that would never free the slot.
        sampler = TokenSampler(job.rules, len(self._model.pieces), job.constraint)
        # A prompt whose own tokens are scored is computed whole.
        reuses = self._model.shares_prefixes and job.request.prompt_logprobs is None
        prompt = job.tokens if reuses else []
        owner = self._sharing.owner_of(job.request)
        slot, source, cached = self._slots.acquire(prompt, len(job.tokens) + job.limit, owner)
        self._context.memory_seq_rm(slot.number, cached if slot is source else 0, -1)
        if slot is not source and cached:
            self._context.memory_seq_cp(source.number, slot.number, 0, cached)
        slot.tokens = job.tokens[:cached]
        for evicted in self._slots.slots_to_evict():
            self._evict(evicted)
        sequence = self._sequences[job_id] = _Sequence(job, slot, cached, sampler, self._model)
        sequence.answer.cached_tokens = self._sharing.reported(cached)
        self._cache.used = self._slots.reserved

    def step(self) -> list[tuple[JobId, Output]]:
        """Compute one batch, and sample one token for each answer whose prefill is complete."""
        outputs: list[tuple[JobId, Output]] = []
        for job_id in [id_ for id_, seq in self._sequences.items() if seq.answer.exhausted and not seq.scores]:
            outputs += self._finish(job_id, self._sequences[job_id].answer.end("length"))
        sampled = self._fill_batch()
        if self._batch.n_tokens:
            self._context.decode(self._batch)
        for job_id in [id_ for id_, seq in self._sequences.items() if seq.scores]:
            outputs += self._score(job_id)
        for job_id, index in sampled:
            if job_id in self._sequences:
                outputs += self._sample(job_id, index)
        return outputs

    def _score(self, job_id: JobId) -> list[tuple[JobId, Output]]:
        """Read the log probabilities of prompt tokens; return them once they are complete."""
        sequence = self._sequences[job_id]
        assert sequence.scores is not None  # the caller has checked it
        sequence.scores.read(self._context)
        scored = sequence.scores.take()
        if not scored:
            return []
        sequence.scores = None
        outputs: list[Output] = [Delta(prompt_logprobs=scored)]
        return self._finish(job_id, outputs + (sequence.answer.end("length") if sequence.answer.exhausted else []))

    def _fill_batch(self) -> list[tuple[JobId, int]]:
        """Fill the batch: first decoding answers with one token each, then prompts.

        Returns the jobs to sample, each with the position of its logits in the batch.
        """
        self._batch.clear()
        wanted = []
        for job_id, sequence in sorted(self._sequences.items(), key=lambda item: len(item[1].pending_tokens) > 1):
            room = self._batch_size - self._batch.n_tokens
            slot, scores = sequence.slot, sequence.scores
            take = sequence.pending_tokens[: room if scores is None else min(room, TOKENS_A_STEP)]
            complete = len(take) == len(sequence.pending_tokens)
            for offset, token in enumerate(take):
                wants_logits = scores is not None or (complete and offset == len(take) - 1)
                if scores is not None:
                    scores.want(self._batch.n_tokens, len(slot.tokens) + offset)
                self._batch.add(token, len(slot.tokens) + offset, [slot.number], wants_logits)
            slot.tokens += take
            del sequence.pending_tokens[: len(take)]
            if take and complete:
                wanted.append((job_id, self._batch.n_tokens - 1))
        return wanted

    def _sample(self, job_id: JobId, index: int) -> list[tuple[JobId, Output]]:
        sequence = self._sequences[job_id]
        token = sequence.sampler.sample(self._context, index)
        if sequence.sampler.failure:
            return self._finish(job_id, [format_refused(sequence.sampler.failure, sequence.format_param)])
        pieces, top, ids = self._model.pieces, sequence.top_logprobs, sequence.wants_ids
        hidden = token in sequence.stop_tokens and not sequence.answer.shows_stop(token)
        if hidden and not ids:
            return self._finish(job_id, sequence.answer.end("stop"))
        logprob = None if top is None else logprob_of(self._context, index, token, top, pieces, ids=ids)
        if hidden:
            return self._finish(job_id, with_end_token(sequence.answer.end("stop"), token, logprob))
        outputs = sequence.answer.add(sequence.pieces[token], logprob)
        if ids:
            outputs = with_token_id(outputs, token)
        ended = sequence.sampler.complete or token in sequence.stop_tokens
        if ended and not isinstance(outputs[-1], Finished):
            outputs += sequence.answer.end("stop")
        sequence.pending_tokens.append(token)
        return self._finish(job_id, outputs)

    def _finish(self, job_id: JobId, outputs: list[Output]) -> list[tuple[JobId, Output]]:
        if not isinstance(outputs[-1], Delta):
            self.cancel(job_id)
        return [(job_id, output) for output in outputs]

    def cancel(self, job_id: JobId) -> None:
        """Free the slot; the tokens computed so far stay cached."""
        sequence = self._sequences.pop(job_id, None)
        if sequence is not None:
            sequence.sampler.close()
            self._slots.release(sequence.slot)
            self._cache.used = self._slots.reserved

    def _evict(self, slot: Slot) -> None:
        self._context.memory_seq_rm(slot.number, 0, -1)
        slot.tokens.clear()

    def reset(self) -> None:
        """Drop all jobs and clear the whole cache."""
        for job_id in list(self._sequences):
            self.cancel(job_id)
        self._slots.clear()
        self._cache.used = 0
        self._context.kv_cache_clear()

    def close(self) -> None:
        """Free the cache and the weights."""
        self._batch.close()
        self._context.close()
        self._model.close()

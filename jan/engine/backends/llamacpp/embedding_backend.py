"""Backend for models that embed texts: each step is one batch of whole texts, of all running requests in turn.

A text is never split between steps, because attention goes both ways in most of these models. Nothing is kept from
one step to the next.
"""

from collections import deque
from pathlib import Path
from typing import Any

import cyllama.llama.llama_cpp as llama

from jan.engine.backends.embedding_inputs import TokenizedInputs, tokenize_inputs
from jan.engine.backends.llamacpp.model import GgufModel
from jan.engine.backends.llamacpp.options import LlamaCppOptions
from jan.engine.backends.llamacpp.pooling import NO_POOLING, Pooling, pooled, wanted
from jan.engine.backends.token_reading import read_tokens
from jan.engine.base import (
    EmbeddingForms,
    Finished,
    GenerationRequest,
    JobId,
    ModelInfo,
    OnProgress,
    Output,
    TokenizedText,
)
from jan.engine.fingerprint import fingerprint_of
from jan.engine.refusals import reason_of
from jan.errors import ConfigurationError

# Most texts that one step computes.
_TEXTS_A_STEP = 64


class _Texts:
    """A running job of ``count`` texts with ``tokens`` tokens. ``left``: those that are not computed yet.
    ``vectors``: those of the others, in their order."""

    def __init__(self, job: TokenizedInputs) -> None:
        self.tokens, self.count = job.prompt_tokens, len(job.inputs)
        self.dimensions = job.dimensions
        self.left = deque(job.inputs)
        self.vectors: list[bytes] = []


class LlamaCppEmbeddingBackend:
    """One GGUF model that embeds, and the running requests.

    ``pooling``: how the vectors of a text's tokens become one. All methods are those of ``engine.base.Backend``.
    """

    def __init__(self, options: LlamaCppOptions, file: Path, pooling: Pooling) -> None:
        self._options = options
        self._file = file
        self._pooling = pooling
        # In the order in which they have their turn.
        self._running: dict[JobId, _Texts] = {}

    def load(self, progress: OnProgress) -> ModelInfo:
        """Load the weights and plan the computation. Raises ConfigurationError if the file is not a model."""
        progress(0.0)
        options = self._options
        self._model = GgufModel(self._file, options.gpu_layers, control_tokens=options.control_tokens_in_content)
        self._context_length = min(options.context, self._model.trained_context)
        self._dimensions = int(self._model.weights.n_embd)
        progress(0.8)
        self._batch_size = max(options.batch, self._context_length)
        try:
            self._context = llama.LlamaContext(self._model.weights, self._context_parameters())
        except (ValueError, RuntimeError, MemoryError) as error:
            raise ConfigurationError(
                f"A batch of {self._batch_size} tokens can't be made: {reason_of(error)}."
            ) from error
        self._batch = llama.LlamaBatch(n_tokens=self._batch_size, embd=0, n_seq_max=_TEXTS_A_STEP)
        progress(1.0)
        return ModelInfo(
            context_length=self._context_length,
            slots=options.slots,
            generates=False,
            embeds=EmbeddingForms(
                dimensions=self._dimensions,
                pooling=self._pooling,
                matryoshka=None if options.matryoshka == "any" else tuple(options.matryoshka),
            ),
            token_prompts=True,
            tokenizer=self._model.tokenizer,
            details={"name": self._model.name, "file": self._file.name},
            fingerprint=fingerprint_of("llamacpp", "cyllama", [self._file]),
        )

    def _context_parameters(self) -> Any:
        parameters = llama.LlamaContextParams()
        parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = self._batch_size
        parameters.n_seq_max = _TEXTS_A_STEP
        parameters.kv_unified = True
        parameters.embeddings = True
        parameters.pooling_type = NO_POOLING
        parameters.n_threads = parameters.n_threads_batch = self._options.thread_count
        return parameters

    def tokenize(self, request: GenerationRequest) -> TokenizedInputs:
        """Tokenise the texts of a request, on any thread. Raises InvalidRequest."""
        return tokenize_inputs(request, self._model, self._context_length)

    def read_tokens(self, request: GenerationRequest) -> TokenizedText:
        """Return the tokens of a request's Tokenization, on any thread. Raises InvalidRequest."""
        return read_tokens(request, self._model)

    def prepare(self, request: GenerationRequest, prompt: TokenizedInputs | None = None) -> TokenizedInputs:
        """Return the tokenised request. Raises InvalidRequest."""
        return prompt or self.tokenize(request)

    def has_room(self, _job: TokenizedInputs) -> bool:
        """Return True if fewer requests run than there are slots."""
        return len(self._running) < self._options.slots

    def begin(self, job_id: JobId, job: TokenizedInputs) -> None:
        """Give a request its turns from the next step on."""
        self._running[job_id] = _Texts(job)

    def step(self) -> list[tuple[JobId, Output]]:
        """Embed as many texts as fit into a batch. A request ends with its last text."""
        taken = self._fill_batch()
        self._context.kv_cache_clear()
        self._context.decode(self._batch)
        outputs: list[tuple[JobId, Output]] = []
        for job_id, positions in taken:
            texts = self._running[job_id]
            texts.vectors.append(self._result(positions, texts.dimensions or self._dimensions))
            if len(texts.vectors) == texts.count:
                outputs.append((job_id, self._end(job_id)))
        return outputs

    def _result(self, positions: range, dimensions: int) -> bytes:
        """Return what is computed of a text, from the vectors at these places of the batch."""
        return pooled(self._context, positions, dimensions)

    def _fill_batch(self) -> list[tuple[JobId, range]]:
        """Fill the batch with a text of each request in turn. Returns the places of the needed vectors."""
        self._batch.clear()
        taken: list[tuple[JobId, range]] = []
        turns = deque(self._running)
        while turns and len(taken) < _TEXTS_A_STEP:
            job_id = turns.popleft()
            texts = self._running[job_id]
            if not texts.left or self._batch.n_tokens + len(texts.left[0]) > self._batch_size:
                continue
            taken.append((job_id, self._add(texts.left.popleft(), len(taken))))
            turns.append(job_id)
            # It is the last one's turn in the next step.
            self._running[job_id] = self._running.pop(job_id)
        return taken

    def _add(self, tokens: list[int], sequence: int) -> range:
        """Add a text to the batch. Returns the places of the vectors that are needed."""
        begin, needed = self._batch.n_tokens, wanted(self._pooling, len(tokens))
        for position, token in enumerate(tokens):
            self._batch.add(token, position, [sequence], position in needed)
        return range(begin + needed.start, begin + needed.stop)

    def _end(self, job_id: JobId) -> Finished:
        texts = self._running.pop(job_id)
        return Finished(
            reason="stop", prompt_tokens=texts.tokens, completion_tokens=0, vectors=tuple(texts.vectors)
        )

    def cancel(self, job_id: JobId) -> None:
        """Drop a request. Unknown ids are ignored."""
        self._running.pop(job_id, None)

    def reset(self) -> None:
        """Drop all running requests."""
        self._running.clear()

    def close(self) -> None:
        """Free the model's memory."""
        self._batch.close()
        self._context.close()
        self._model.close()

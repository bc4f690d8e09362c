"""The limit of a model: a bare loop over the library that the engine uses. `python -m jan.bench.straight MODEL`.

Reads jobs as lines of JSON and prints what each took.
"""

import sys
import time
from collections.abc import Sequence

import cyllama.llama.llama_cpp as llama
import msgspec

from jan.bench.straight_job import Straight, StraightOutcome, threads
from jan.engine.backends.llamacpp.chain import add_temperature
from jan.engine.backends.llamacpp.gguf_files import resolve_model_file
from jan.engine.backends.llamacpp.model import GgufModel

_CELLS = 16384
_SEQUENCES = 8
_BATCH = 256
_TEMPERATURE = 0.7


class Loop:
    """A llama.cpp context for several sequences, which are decoded in one batch a step."""

    def __init__(self, model: GgufModel) -> None:
        self._model = model
        parameters = llama.LlamaContextParams()
        parameters.n_ctx, parameters.n_seq_max, parameters.kv_unified = _CELLS, _SEQUENCES, True
        parameters.n_batch = parameters.n_ubatch = _BATCH
        parameters.n_threads = parameters.n_threads_batch = threads()
        self._context = llama.LlamaContext(model.weights, parameters)
        self._batch = llama.LlamaBatch(n_tokens=_BATCH, embd=0, n_seq_max=_SEQUENCES)

    def run(self, job: Straight) -> StraightOutcome:
        """Answer every prompt of the job, and return the times."""
        self._context.kv_cache_clear()
        began, gaps = time.perf_counter(), []
        samplers = [_sampler(number) for number in range(len(job.prompts))]
        last, lengths = self._begin(job.prompts, samplers)
        first = time.perf_counter() - began
        for step in range(job.tokens - 1):
            since = time.perf_counter()
            last = self._step(last, [length + step for length in lengths], samplers)
            gaps.append(time.perf_counter() - since)
        return StraightOutcome(time.perf_counter() - began, first, gaps)

    def _begin(self, prompts: Sequence[str], samplers: list[llama.LlamaSampler]) -> tuple[list[int], list[int]]:
        """Prefill all prompts in one batch. Returns the first token after each, and their lengths."""
        self._batch.clear()
        lengths, ends = [], []
        for number, prompt in enumerate(prompts):
            tokens = self._model.tokenize(prompt, self._model.trained_context)
            for position, token in enumerate(tokens):
                self._batch.add(token, position, [number], position == len(tokens) - 1)
            lengths.append(len(tokens))
            ends.append(self._batch.n_tokens - 1)
        self._context.decode(self._batch)
        return [int(one.sample(self._context, end)) for one, end in zip(samplers, ends, strict=True)], lengths

    def _step(self, last: list[int], positions: list[int], samplers: list[llama.LlamaSampler]) -> list[int]:
        """Decode one more token of each sequence."""
        self._batch.clear()
        for number, (token, position) in enumerate(zip(last, positions, strict=True)):
            self._batch.add(token, position, [number], True)
        self._context.decode(self._batch)
        return [int(sampler.sample(self._context, index)) for index, sampler in enumerate(samplers)]


def _sampler(seed: int) -> llama.LlamaSampler:
    sampler = llama.LlamaSampler(llama.LlamaSamplerChainParams())
    add_temperature(sampler, _TEMPERATURE)
    sampler.add_dist(seed)
    return sampler


def main() -> None:
    """Read jobs and print outcomes until the input ends."""
    loop = Loop(GgufModel(resolve_model_file(sys.argv[1]), 0))
    for line in sys.stdin.buffer:
        outcome = loop.run(msgspec.json.decode(line, type=Straight))
        sys.stdout.buffer.write(msgspec.json.encode(outcome) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()

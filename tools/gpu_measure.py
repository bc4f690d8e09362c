"""Measure one model: the library alone, through the engine's thread, through HTTP, and how soon a slot is freed.

"The library alone" is its own generator on the same weights and cache. All ways answer the same prompts.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import msgspec
import torch

from jan.engine.backends.exllama.common.device import Device
from jan.engine.backends.exllama.v2 import ExLlamaV2Backend, ExLlamaV2Options
from jan.engine.base import Delta, Finished, GenerationRequest, Sampling, TextPrompt, TokenPrompt
from jan.engine.iterate import events_of
from jan.engine.runtime.executor import ThreadedEngine

_READY = re.compile(r"API\s+(http://\S+)/api/v1")
_GIB = 2**30
# Step from one prompt to the next of a round, so that no two prompts share pages.
_STRIDE = 7
# Tokens of a short prompt, where only the answer matters.
_SHORT = 16
# Seconds between two looks at how many answers are gone. Without a pause, the loop would take Python's lock from
# the engine's thread.
_LOOK = 0.001


def memory(*, most: bool = False) -> str:
    """Return as text the GPU memory that PyTorch uses, or its maximum with ``most``, and the use by all."""
    if not torch.cuda.is_available():
        return "no GPU"
    count = torch.cuda.max_memory_allocated if most else torch.cuda.memory_allocated
    gpus = range(torch.cuda.device_count())
    free, total = (sum(torch.cuda.mem_get_info(gpu)[at] for gpu in gpus) for at in (0, 1))
    own = sum(count(gpu) for gpu in gpus)
    return f"{own / _GIB:.1f} GiB of the model's own, {(total - free) / _GIB:.1f} of {total / _GIB:.1f} GiB in use"


class Figures(NamedTuple):
    """Results of a round. ``rate``: tokens/s of all streams.

    ``median`` and ``late`` (95th percentile): seconds to the first token.
    """

    rate: float
    median: float
    late: float


class Freed(NamedTuple):
    """From closing some answers until they were gone: steps, seconds, and freed ``tokens`` of the cache."""

    answers: int
    steps: int
    seconds: float
    tokens: int


class Measured:
    """Collects a round. ``tokens``: of all answers. ``first``: seconds to the first token of each answer."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.first: list[float] = []
        self.tokens = 0

    def take(self, tokens: int, *, is_first: bool) -> None:
        if is_first and tokens:
            self.first.append(time.perf_counter() - self.began)
        self.tokens += tokens

    def report(self) -> Figures:
        """Return the results when all answers have ended."""
        rate, first = self.tokens / (time.perf_counter() - self.began), sorted(self.first)
        return Figures(rate, first[len(first) // 2], first[min(len(first) - 1, len(first) * 95 // 100)])


class Check:
    """Measures one model, which is loaded once."""

    def __init__(self, options: ExLlamaV2Options, prompt: int, tokens: int, device: Device | None = None) -> None:
        self.backend = ExLlamaV2Backend(options, device)
        self._prompt, self._tokens, self._context = prompt, tokens, options.context
        self.attention = ""

    def load(self) -> None:
        """Load the model; the library builds its extension if necessary."""
        began = time.perf_counter()
        info = self.backend.load(lambda part: None)
        self.attention = info.details["attention"]
        print(f"loaded in {time.perf_counter() - began:.1f} s (the extension's build included), {info.details}")
        print(f"GPU memory: {memory()}")

    def request(self, number: int, round_: int) -> GenerationRequest:
        """Return a request with a new prompt, whose answer ends only at its length."""
        return self._request(number, round_, self._prompt, self._tokens)

    def _request(self, number: int, round_: int, length: int, limit: int) -> GenerationRequest:
        size = len(self.backend._tokenizer.pieces) - 1000
        prompt = tuple((number * _STRIDE + round_ * 1009 + at * 31) % size + 500 for at in range(length))
        bias = dict.fromkeys(self.backend._tokenizer.stop_tokens, -100.0)
        return GenerationRequest(
            prompt=TokenPrompt(prompt), max_tokens=limit, sampling=Sampling(temperature=1, logit_bias=bias)
        )

    def straight(self, streams: int, round_: int) -> Figures:
        """Measure the library alone, without our engine."""
        from exllamav2.generator import ExLlamaV2DynamicJob, ExLlamaV2Sampler

        generator = self.backend._generator
        for number in range(streams):
            prompt = self.request(number, round_).prompt
            assert isinstance(prompt, TokenPrompt)
            settings = ExLlamaV2Sampler.Settings(temperature=1.0, top_k=0, top_p=0.0, token_repetition_penalty=1.0)
            ids = torch.tensor([prompt.tokens])
            generator.enqueue(ExLlamaV2DynamicJob(ids, max_new_tokens=self._tokens, gen_settings=settings))
        measured, begun = Measured(), set()
        while generator.num_remaining_jobs():
            for result in generator.iterate():
                if result["stage"] == "streaming":
                    measured.take(1, is_first=result["serial"] not in begun)
                    begun.add(result["serial"])
        return measured.report()

    async def through_executor(self, engine: ThreadedEngine, streams: int, round_: int) -> Figures:
        """Measure the same requests through the engine's thread."""
        measured = Measured()

        async def one(request: GenerationRequest) -> None:
            begun = False
            async for event in events_of(engine, request):
                if isinstance(event, Delta):
                    measured.take(event.tokens, is_first=not begun)
                    begun = begun or event.tokens > 0

        await asyncio.gather(*(one(self.request(number, round_)) for number in range(streams)))
        return measured.report()

    async def cancelling(self, engine: ThreadedEngine, streams: int) -> Freed:
        """Close half of the running answers at once; returns how soon they were gone."""
        limit = self._context - _SHORT
        running = [events_of(engine, self._request(number, 0, _SHORT, limit)) for number in range(streams)]
        for answer in running:
            while not (isinstance(event := await anext(answer), Delta) and event.tokens):
                pass
        cache = engine.info.cache
        assert cache is not None
        leaving, before = running[: max(1, streams // 2)], engine.stats
        held, began = cache.used, time.perf_counter()
        await asyncio.gather(*(answer.aclose() for answer in leaving))
        # No event says when, and the time is measured.
        while engine.stats.cancelled - before.cancelled < len(leaving):  # noqa: ASYNC110
            await asyncio.sleep(_LOOK)
        steps, seconds = engine.stats.steps - before.steps, time.perf_counter() - began
        freed = Freed(len(leaving), steps, seconds, held - cache.used)
        for answer in running[len(leaving) :]:
            await answer.aclose()
        return freed

    async def through_http(self, url: str, streams: int, round_: int) -> Figures:
        """Measure the same requests as streams through a server in its own process."""
        measured = Measured()

        async def one(client: httpx.AsyncClient, request: GenerationRequest) -> None:
            assert isinstance(request.prompt, TokenPrompt)
            body = {
                "model": "checked",
                "prompt": list(request.prompt.tokens),
                "max_tokens": self._tokens,
                "stream": True,
                "stream_options": {"include_usage": True},
                "logit_bias": {str(token): bias for token, bias in request.sampling.logit_bias.items()},
            }
            begun = False
            async with client.stream("POST", f"{url}/v1/completions", json=body) as response:
                async for line in response.aiter_lines():
                    if not line.startswith("data: {"):
                        continue
                    chunk = json.loads(line[6:])
                    if "error" in chunk:
                        raise SystemExit(f"gpu-check: {chunk['error']['message']}")
                    if not begun:
                        measured.first.append(time.perf_counter() - measured.began)
                    begun = True
                    measured.tokens += (chunk.get("usage") or {}).get("completion_tokens", 0)

        limits = httpx.Limits(max_connections=streams)
        async with httpx.AsyncClient(timeout=300, limits=limits) as client:
            await asyncio.gather(*(one(client, self.request(number, round_)) for number in range(streams)))
        return measured.report()


@contextmanager
def served(options: ExLlamaV2Options, program: tuple[str, ...] = ("-m", "jan")) -> Iterator[str]:
    """Run a server with this model on a free port of 127.0.0.1; yields its URL."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "jan.yaml"
        chosen = msgspec.json.encode(options).decode()
        # Another program has its stand-ins in its own process.
        isolation = "process" if program == ("-m", "jan") else "thread"
        config.write_text(
            f"extends: {Path(__file__).resolve().parent.parent / 'conf' / 'jan.yaml'}\n"
            "log: {level: warning}\n"
            "limits: {anonymous: 'off', inference: 'off'}\n"
            f"models: [{{id: checked, engine: exllamav2, isolation: {isolation}, options: {chosen}}}]\n"
        )
        command = [sys.executable, *program, "serve", "--config", str(config), "--port", "0"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder, env=os.environ.copy())
        assert server.stdout is not None
        try:
            found = next(filter(None, map(_READY.search, server.stdout)), None)
            if found is None:
                raise SystemExit("gpu-check: The server did not start. The lines above say why.")
            yield found[1]
        finally:
            server.terminate()
            server.wait(60)
            server.stdout.close()


def first_answer(check: Check) -> str:
    """Return a few greedy tokens, for a person to judge."""
    request = GenerationRequest(
        prompt=TextPrompt("The capital of France is"), max_tokens=16, sampling=Sampling(temperature=0)
    )
    backend, text = check.backend, ""
    backend.begin(0, backend.prepare(request))
    while True:
        for _, output in backend.step():
            if isinstance(output, Finished):
                return text
            assert isinstance(output, Delta), output
            text += output.text

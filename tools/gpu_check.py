"""What ``tools/gpu-check`` runs: build, a first answer, and tokens/s straight, through the executor, through HTTP.

Straight is the library's own generator on the same weights and cache; all three answer the same prompts.
"""

import argparse
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

import httpx
import msgspec
import torch

from jan.engine.base import Delta, Finished, GenerationRequest, Sampling, TextPrompt, TokenPrompt
from jan.engine.executor import ThreadedEngine
from jan.engine.exllama.device import Device
from jan.engine.exllamav2 import ExLlamaV2Backend, ExLlamaV2Options
from jan.engine.rules import EngineRules
from jan.errors import ConfigurationError

_READY = re.compile(r"API\s+(http://\S+)/api/v1")
_GIB = 2**30
# From one prompt to the next of a round, so that no two share their pages.
_STRIDE = 7


class Measured:
    """``tokens``: of all answers; ``first``: seconds to the first token, of each answer."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.first: list[float] = []
        self.tokens = 0

    def take(self, tokens: int, *, is_first: bool) -> None:
        if is_first and tokens:
            self.first.append(time.perf_counter() - self.began)
        self.tokens += tokens

    def report(self) -> tuple[float, float]:
        """Tokens/s of all, and the median time to the first token."""
        return self.tokens / (time.perf_counter() - self.began), sorted(self.first)[len(self.first) // 2]


class Check:
    """One model, one load."""

    def __init__(self, options: ExLlamaV2Options, prompt: int, tokens: int, device: Device | None = None) -> None:
        self.backend = ExLlamaV2Backend(options, device)
        self._prompt, self._tokens = prompt, tokens

    def load(self) -> None:
        """Builds the extension where that is due."""
        began = time.perf_counter()
        info = self.backend.load(lambda part: None)
        print(f"loaded in {time.perf_counter() - began:.1f} s (the extension's build included), {info.details}")
        print(f"GPU memory in use: {torch.cuda.memory_allocated() / _GIB:.1f} GiB")

    def request(self, number: int, round_: int) -> GenerationRequest:
        """A prompt that nobody has sent before; an answer that only its length ends."""
        size = len(self.backend._tokens.pieces) - 1000
        prompt = tuple((number * _STRIDE + round_ * 1009 + at * 31) % size + 500 for at in range(self._prompt))
        bias = dict.fromkeys(self.backend._tokens.stop_tokens, -100.0)
        return GenerationRequest(
            prompt=TokenPrompt(prompt), max_tokens=self._tokens, sampling=Sampling(temperature=1, logit_bias=bias)
        )

    def straight(self, streams: int, round_: int) -> tuple[float, float]:
        """The library alone, its text held back by nobody."""
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

    async def through_executor(self, engine: ThreadedEngine, streams: int, round_: int) -> tuple[float, float]:
        """The same through the engine's thread."""
        measured = Measured()

        async def one(request: GenerationRequest) -> None:
            begun = False
            async for event in engine.submit(request):
                if isinstance(event, Delta):
                    measured.take(event.tokens, is_first=not begun)
                    begun = begun or event.tokens > 0

        await asyncio.gather(*(one(self.request(number, round_)) for number in range(streams)))
        return measured.report()

    async def through_http(self, url: str, streams: int, round_: int) -> tuple[float, float]:
        """The same through a server in a process of its own, streamed."""
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
def served(options: ExLlamaV2Options) -> Iterator[str]:
    """A server with this model on a free port of 127.0.0.1; gives its URL."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "jan.yaml"
        chosen = msgspec.json.encode(options).decode()
        config.write_text(
            f"extends: {Path(__file__).resolve().parent.parent / 'conf' / 'jan.yaml'}\n"
            "log: {level: warning}\n"
            "limits: {anonymous: 'off', inference: 'off'}\n"
            f"models: [{{id: checked, engine: exllamav2, options: {chosen}}}]\n"
        )
        command = [sys.executable, "-m", "jan", "serve", "--config", str(config), "--port", "0"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder, env=os.environ.copy())
        assert server.stdout is not None
        try:
            found = next(filter(None, map(_READY.search, server.stdout)), None)
            if found is None:
                raise SystemExit("gpu-check: the server did not start; the lines above say why")
            yield found[1]
        finally:
            server.terminate()
            server.wait(60)


def first_answer(check: Check) -> str:
    """A few greedy tokens, to be judged by the eye."""
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


def row(how: str, streams: int, measured: tuple[float, float], straight: float | None) -> float:
    """Prints one measurement; gives its rate."""
    rate, first = measured
    share = f", {rate / straight:.2f} of straight" if straight else ""
    print(
        f"{how:>9} {streams:>4} streams: {rate:>7.0f} tokens/s, first token after {first * 1000:>6.0f} ms{share}"
    )
    return rate


async def measure_executor(check: Check, straight: dict[int, float]) -> None:
    """A row for each number of streams, beside the rate that it has ``straight``."""
    engine = ThreadedEngine("checked", lambda: check.backend, EngineRules(max_waiting=max(straight)))
    await engine.start(lambda part: None)
    await check.through_executor(engine, 1, 0)
    for at, count in enumerate(straight, 1):
        row("executor", count, await check.through_executor(engine, count, at), straight[count])
    await engine.close()


async def measure(check: Check, options: ExLlamaV2Options, streams: list[int]) -> None:
    """The table; the first round of each kind warms up and is not printed."""
    check.straight(1, 0)
    straight = {
        count: row("straight", count, check.straight(count, at), None) for at, count in enumerate(streams, 1)
    }
    print(f"GPU memory at most: {torch.cuda.max_memory_allocated() / _GIB:.1f} GiB")
    check.backend.close()
    await measure_executor(check, straight)
    with served(options) as url:
        await check.through_http(url, 1, 0)
        for at, count in enumerate(streams, 1):
            row("HTTP", count, await check.through_http(url, count, at), straight[count])


def main() -> None:
    """Build, answer, measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--streams", default="1,8,32,64,128")
    parser.add_argument("--tokens", type=int, default=64, help="of each answer")
    parser.add_argument("--prompt", type=int, default=512, help="tokens of each prompt")
    given = parser.parse_args()
    streams = [int(count) for count in given.streams.split(",")]
    context = -(-(given.tokens + given.prompt) // 256) * 256
    model = str(given.model.resolve())
    options = ExLlamaV2Options(model=model, context=context, slots=max(streams), prefills=max(streams))
    try:
        check = Check(options, given.prompt, given.tokens)
        check.load()
    except ConfigurationError as error:
        raise SystemExit(f"gpu-check: {error.message}") from error
    print(f"The capital of France is{first_answer(check)!r}")
    asyncio.run(measure(check, options, streams))


if __name__ == "__main__":
    main()

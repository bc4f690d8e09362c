"""The program of ``tools/gpu-check``: make or load a model, answer once, and print tables of speeds."""

import argparse
import asyncio
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from gpu_measure import Check, Figures, first_answer, memory, served
from random_model import SHAPES, Form, write_random
from support.folder_models import Gguf, made_once, write_bundled, write_tokenizer

from jan.cli.server_process import tune_interpreter
from jan.engine.backends.exllama.v2 import ExLlamaV2Options, flash
from jan.engine.rules import EngineRules
from jan.engine.runtime.executor import ThreadedEngine
from jan.errors import ConfigurationError

_ROOT = Path(__file__).resolve().parent.parent
_WAYS = ("straight", "executor", "HTTP")
_ROW = re.compile(r"^\| straight \(triton\) \| +(\d+) \| +(\d+)")
# The goal: HTTP's share of the library's own speed, and the number of streams for it.
_GOAL, _GOAL_STREAMS = 0.97, 32

Rates = dict[int, float]
Serve = Callable[[], AbstractContextManager[str]]


# --- the model ---------------------------------------------------------------------------------------------------


def model_folder(given: argparse.Namespace) -> Path:
    """Return the model folder to measure, after making it if necessary."""
    folder: Path | None = given.model
    if folder is None and given.bundled:
        folder = made_once(given.folder / "bundled-fp16", write_bundled)
    elif folder is None:
        name = f"random-{given.random}-{given.form}"
        print(f"model of random weights: {given.folder / name}")
        folder = made_once(given.folder / name, partial(_write_random, given.random, given.form))
    if given.quantise is None:
        return folder
    target = folder.with_name(f"{folder.name}-exl2-{given.quantise}")
    return made_once(target, partial(quantise, folder, given.quantise))


def _write_random(shape: str, form: Form, folder: Path) -> None:
    write_tokenizer(folder, Gguf())
    write_random(folder, dict(SHAPES[shape]), form)


def quantise(model: Path, bits: float, target: Path) -> None:
    """Quantise with the library's own script. Calibration is minimal, because only speed is measured."""
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        paths = ["-i", str(model), "-o", work, "-cf", str(target), "-b", str(bits)]
        little = ["-r", "8", "-mr", "4", "-l", "512", "-ml", "512"]
        # With PyTorch's own kernels, the script's attention without pages would not be causal.
        command = ["env", "EXLLAMA_NO_SDPA=1", sys.executable, "-m", "exllamav2.conversion.convert_exl2"]
        if subprocess.run([*command, *paths, *little], check=False).returncode or not any(target.iterdir()):
            raise SystemExit("gpu-check: ExLlamaV2 could not quantise the model. The lines above say why.")


# --- the tables --------------------------------------------------------------------------------------------------


def heading(title: str) -> None:
    """Print the heading of a table of rates."""
    print(f"\n{title}\n")
    print("| Way | Streams | Tokens/s | Of straight | First token, ms | 95 in 100 by, ms |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")


def row(how: str, streams: int, figures: Figures, straight: float | None) -> float:
    """Print one measurement; returns its rate in tokens/s."""
    share = f"{figures.rate / straight:.2f}" if straight else "-"
    times = f"{figures.median * 1000:.0f} | {figures.late * 1000:.0f}"
    print(f"| {how} | {streams} | {figures.rate:.0f} | {share} | {times} |", flush=True)
    return figures.rate


def measure_straight(check: Check, streams: list[int], name: str = "straight") -> Rates:
    """Measure the library alone. The first round warms up and is not printed."""
    check.straight(1, 0)
    return {count: row(name, count, check.straight(count, at), None) for at, count in enumerate(streams, 1)}


async def measure_executor(check: Check, streams: list[int], straight: Rates) -> None:
    """Measure the same through the engine's thread, and how soon a cancelled answer frees its slot.

    Python's settings are the server's from here on, because the thread has an event loop beside it as there.
    """
    tune_interpreter()
    engine = ThreadedEngine("checked", lambda: check.backend, EngineRules(max_waiting=max(streams)))
    await engine.start(lambda part: None)
    heading("Through the engine's thread")
    await check.through_executor(engine, 1, 0)
    for at, count in enumerate(streams, 1):
        row("executor", count, await check.through_executor(engine, count, at), straight.get(count))
    freed = await check.cancelling(engine, max(streams))
    print(
        f"\nOf {max(streams)} answers {freed.answers} were cancelled: {freed.tokens} tokens of the cache were "
        f"free after {freed.steps} steps, {freed.seconds * 1000:.1f} ms"
    )
    await engine.close()


async def measure_http(check: Check, url: str, streams: list[int], straight: Rates) -> Rates:
    """Measure the same through a server in its own process; returns tokens/s by number of streams."""
    await check.through_http(url, 1, 0)
    rates = {}
    for at, count in enumerate(streams, 1):
        rates[count] = row("HTTP", count, await check.through_http(url, count, at), straight.get(count))
    return rates


def measure(check: Check, streams: list[int], ways: list[str], serve: Serve) -> Rates:
    """Print all tables of one model; returns the rates of the library alone."""
    straight: Rates = {}
    if "straight" in ways:
        used = check.attention
        heading(f"Tokens/s ({used})")
        straight = measure_straight(check, streams, f"straight ({used})")
        print(f"\nGPU memory at most: {memory(most=True)}")
    check.backend.close()
    if "executor" in ways:
        asyncio.run(measure_executor(check, streams, straight))
    if "HTTP" in ways:
        heading("Through HTTP")
        with serve() as url:
            http = asyncio.run(measure_http(check, url, streams, straight))
        judge(http, straight)
    return straight


def judge(http: Rates, straight: Rates) -> None:
    """Print whether the goal is met, if it was measured."""
    if _GOAL_STREAMS in http and _GOAL_STREAMS in straight:
        share = http[_GOAL_STREAMS] / straight[_GOAL_STREAMS]
        met = "met" if share >= _GOAL else "missed"
        print(f"\nHTTP with {_GOAL_STREAMS} streams: {share:.3f} of straight; the goal of {_GOAL} is {met}")


def beside_triton(given: argparse.Namespace, model: Path, flash_rates: Rates) -> None:
    """Measure the library with our own kernels in another process, because it binds them at import."""
    command = [sys.executable, __file__, str(model), "--attention", "triton", "--ways", "straight"]
    command += ["--streams", given.streams, "--tokens", str(given.tokens), "--prompt", str(given.prompt)]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    print(run.stdout)
    for line in run.stdout.splitlines():
        if found := _ROW.match(line):
            count, rate = int(found[1]), float(found[2])
            share = flash_rates[count] / rate
            print(f"{count} streams: flash-attn makes {share:.2f} of the tokens/s of the Triton kernels")


# --- the command -------------------------------------------------------------------------------------------------


def arguments(command_line: list[str] | None = None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(prog="tools/gpu-check", description=__doc__)
    parser.add_argument("model", type=Path, nargs="?", help="a model folder, or one of these:")
    parser.add_argument("--random", choices=SHAPES, help="a model of random weights in the shape of Llama 3")
    parser.add_argument("--bundled", action="store_true", help="the bundled SmolLM2, in fp16")
    parser.add_argument("--form", choices=("fp16", "gptq"), default="fp16", help="format of the random weights")
    parser.add_argument(
        "--quantise", type=float, metavar="BITS", help="quantise it to EXL2 of this many bits first"
    )
    parser.add_argument(
        "--folder", type=Path, default=_ROOT / ".cache" / "gpu-check", help="where models are made"
    )
    parser.add_argument("--attention", choices=("auto", "flash", "triton"), default="auto")
    parser.add_argument("--ways", default=",".join(_WAYS), help="some of " + ", ".join(_WAYS))
    parser.add_argument("--streams", default="1,8,32,64,128")
    parser.add_argument("--tokens", type=int, default=64, help="tokens of each answer")
    parser.add_argument("--prompt", type=int, default=512, help="tokens of each prompt")
    given = parser.parse_args(command_line)
    if sum((given.model is not None, given.random is not None, given.bundled)) != 1:
        parser.error("Which model? Give a folder, or --bundled, or --random 8b.")
    if given.form == "gptq" and (given.random is None or given.quantise is not None):
        parser.error("Only --random takes --form gptq, and without --quantise.")
    if unknown := set(given.ways.split(",")) - set(_WAYS):
        parser.error(f"Unknown ways: {', '.join(sorted(unknown))}. Allowed: {', '.join(_WAYS)}.")
    return given


def main() -> None:
    """Make the model, load it, answer once, and measure."""
    given = arguments()
    streams = [int(count) for count in given.streams.split(",")]
    context = -(-(given.tokens + given.prompt) // 256) * 256
    try:
        model = model_folder(given)
        options = ExLlamaV2Options(
            model=str(model.resolve()),
            context=context,
            slots=max(streams),
            prefills=max(streams),
            attention=given.attention,
        )
        check = Check(options, given.prompt, given.tokens)
        check.load()
    except ConfigurationError as error:
        raise SystemExit(f"gpu-check: {error.message}") from error
    print(f"The capital of France is{first_answer(check)!r}")
    ways = given.ways.split(",")
    agree = True
    if ways == list(_WAYS):
        import gpu_kernels

        agree = gpu_kernels.table()
    rates = measure(check, streams, ways, lambda: served(options))
    if ways == list(_WAYS) and given.attention == "auto" and flash.problem() is None:
        beside_triton(given, model, rates)
    if not agree:
        raise SystemExit("gpu-check: The attention kernels differ too much from float32.")


if __name__ == "__main__":
    main()

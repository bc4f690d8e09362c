"""``tools/gpu-check`` without a GPU: it measures the stand-ins."""

import gc
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).resolve().parents[2]
TOOLS = TESTS.parent / "tools"

# Way, streams, tokens/s, share of straight, times to the first token: median, and of 95 in 100.
ROW = r"^\| ([a-zA-Z]+)(?: \(\w+\))? \| (\d) \| (\d+) \| (\S+) \| (\d+) \| (\d+) \|$"


def run_shell(tmp_path: Path, *arguments: str) -> tuple[int, list[str]]:
    """Run the script on a PATH without NVIDIA's tools; returns exit code and error output."""
    for name in ("bash", "dirname", "env"):
        found = next(Path(each) / name for each in os.defpath.split(":") if (Path(each) / name).exists())
        (tmp_path / name).symlink_to(found)
    environment = {**os.environ, "PATH": str(tmp_path)}
    result = subprocess.run(
        [TOOLS / "gpu-check", *arguments],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return result.returncode, result.stderr.splitlines()


def test_a_machine_without_a_gpu_is_told_of_in_one_line(tmp_path: Path) -> None:
    """The folder is looked for in the caller's directory, also with blanks in its name."""
    (tmp_path / "my model").mkdir()
    code, [line] = run_shell(tmp_path, "my model")
    assert code == 1
    assert "nvidia-smi is not on PATH" in line


def test_a_model_that_is_not_there_is_told_of_before_anything_is_built(tmp_path: Path) -> None:
    """The message names the model as it was given."""
    code, [line] = run_shell(tmp_path, "no model")
    assert code == 1
    assert "no folder 'no model'" in line


STEPS = """#!/bin/sh
case "$*" in
*CudaDevice*) echo build ;;
*pytest*) echo tests; exit $TESTS_END_WITH ;;
*tools/gpu_check.py*) echo measure "$5" ;;
esac
"""


@pytest.mark.parametrize(("tests_end_with", "code", "complaint"), [(0, 0, ""), (1, 1, "tests failed")])
def test_the_steps_on_a_gpu(tmp_path: Path, tests_end_with: int, code: int, complaint: str) -> None:
    """The extension is compiled before the tests, which would not wait that long. Figures are made in any case."""
    for name, text in {"nvidia-smi": "#!/bin/sh\n", "cuda/bin/nvcc": "#!/bin/sh\n", "python": STEPS}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    own = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHON": str(tmp_path / "python")}
    own |= {"CUDA_HOME": str(tmp_path / "cuda"), "TESTS_END_WITH": str(tests_end_with)}
    line = [TOOLS / "gpu-check", "--random", "8b", "--streams", "8"]
    ran = subprocess.run(line, env={**os.environ, **own}, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == code
    assert ran.stdout.split() == ["build", "tests", "measure", "8"]
    assert complaint in ran.stderr


@pytest.fixture
def gpu_check(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Import the tool's own module."""
    pytest.importorskip(
        "jan.engine.backends.exllama.v2", reason="ExLlamaV2 is not installed", exc_type=ImportError
    )
    monkeypatch.syspath_prepend(str(TOOLS))
    import gpu_check

    seconds, thresholds = sys.getswitchinterval(), gc.get_threshold()
    yield gpu_check
    sys.setswitchinterval(seconds)
    gc.set_threshold(*thresholds)
    for name in ("gpu_check", "gpu_measure", "gpu_kernels", "random_model"):
        sys.modules.pop(name, None)


@pytest.mark.torch
def test_all_three_ways_are_measured(
    gpu_check: Any, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every stream is answered to its last token: by the library alone, through the executor, and through a real
    server. Cancelled answers free their cache within two steps."""
    from support.exllamav2_cpu import any_device

    from jan.engine.backends.exllama.v2 import ExLlamaV2Backend, ExLlamaV2Options

    step = ExLlamaV2Backend.step

    def slow_step(backend: ExLlamaV2Backend, *arguments: Any) -> Any:
        # As long as a large model's: on a busy machine the tiny one makes several before the loop has its turn.
        time.sleep(0.03)
        return step(backend, *arguments)

    monkeypatch.setattr(ExLlamaV2Backend, "step", slow_step)
    monkeypatch.setattr(gpu_check, "_GOAL_STREAMS", 2)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS.parent), str(TESTS)]))
    options = ExLlamaV2Options(model=str(tiny_folder), context=256, chunk=256, slots=2)
    check = gpu_check.Check(options, 16, 4, any_device())
    check.load()
    program = (str(TESTS / "support" / "serve_on_any_device.py"),)
    rates = gpu_check.measure(check, [1, 2], [*gpu_check._WAYS], lambda: gpu_check.served(options, program))
    assert set(rates) == {1, 2}
    printed = capsys.readouterr().out
    rows = re.findall(ROW, printed, re.M)
    assert [found[:2] for found in rows] == [
        (way, streams) for way in ("straight", "executor", "HTTP") for streams in "12"
    ]
    assert all(int(found[2]) > 0 and int(found[4]) <= int(found[5]) for found in rows)
    [(answers, tokens, steps)] = re.findall(
        r"^Of 2 answers (\d) were cancelled: (\d+) tokens of the cache were free after (\d+) steps", printed, re.M
    )
    assert (answers, tokens) == ("1", "256")
    assert int(steps) <= 2
    assert re.search(r"^HTTP with 2 streams: \d\.\d+ of straight; the goal of 0.97 is ", printed, re.M)


@pytest.mark.model
def test_the_model_is_made_once(gpu_check: Any, tmp_path: Path) -> None:
    """Without a folder, a model of random weights is made with a tokenizer; the second time it is found."""
    given = gpu_check.arguments(["--random", "tiny", "--folder", str(tmp_path)])
    folder = gpu_check.model_folder(given)
    assert {file.name for file in folder.iterdir()} >= {"config.json", "tokenizer.json", "tokenizer_config.json"}
    written = (folder / "config.json").stat().st_mtime_ns
    assert gpu_check.model_folder(given) == folder
    assert (folder / "config.json").stat().st_mtime_ns == written
    assert gpu_check.model_folder(gpu_check.arguments([str(folder)])) == folder


def test_a_model_that_can_not_be_quantised_is_reported(gpu_check: Any, tmp_path: Path) -> None:
    """Nothing is left that the next run would take for a model."""
    (tmp_path / "empty").mkdir()
    given = gpu_check.arguments([str(tmp_path / "empty"), "--quantise", "4"])
    with pytest.raises(SystemExit, match="could not quantise"):
        gpu_check.model_folder(given)
    assert [each.name for each in tmp_path.iterdir()] == ["empty"]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ([], "Which model"),
        (["folder", "--bundled"], "Which model"),
        (["--random", "9b"], "invalid choice"),
        (["folder", "--form", "gptq"], "Only --random takes --form gptq"),
        (["folder", "--ways", "straight,sideways"], "Unknown ways: sideways"),
    ],
)
def test_what_makes_no_sense_is_refused(
    gpu_check: Any, capsys: pytest.CaptureFixture[str], line: list[str], complaint: str
) -> None:
    """Wrong arguments are refused before anything is loaded."""
    with pytest.raises(SystemExit):
        gpu_check.arguments(line)
    assert complaint in capsys.readouterr().err


def test_flash_attn_is_compared_with_triton(gpu_check: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """The share is computed from the table that the other process prints."""
    table = "| straight (triton) | 1 | 200 | - | 5 | 6 |\n| straight (triton) | 8 | 100 | - | 5 | 6 |\n"
    ran: list[list[str]] = []

    def run(command: list[str], **options: Any) -> Any:
        ran.append(command)
        return subprocess.CompletedProcess(command, 0, table)

    monkeypatch.setattr(gpu_check.subprocess, "run", run)
    gpu_check.beside_triton(gpu_check.arguments(["m"]), Path("m"), {1: 100.0, 8: 150.0})
    assert ran[0][-10:-6] == ["--attention", "triton", "--ways", "straight"]
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [
        "1 streams: flash-attn makes 0.50 of the tokens/s of the Triton kernels",
        "8 streams: flash-attn makes 1.50 of the tokens/s of the Triton kernels",
    ]


KERNELS = """
import gpu_kernels
case = gpu_kernels.Case("small", 3, (5, 70), heads=4, key_heads=2, size=32, page=64, parts=1)
gpu_kernels._ROUNDS = 1
print(gpu_kernels.table((case,), "cpu"))
gpu_kernels.MOST = 0
print(gpu_kernels.table((case,), "cpu"))
"""


@pytest.mark.torch
@pytest.mark.skipif(find_spec("triton") is None, reason="there is no Triton for this machine")
def test_the_kernels_table(gpu_check: Any) -> None:
    """Each case has its difference from float32, and a mark if that is too large. Runs in Triton's interpreter."""
    ran = subprocess.run(
        [sys.executable, "-c", KERNELS],
        env={
            **os.environ,
            "TRITON_INTERPRET": "1",
            "PYTHONPATH": os.pathsep.join([str(TOOLS), str(TOOLS.parent)]),
        },
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert re.findall(r"^(True|False)$", ran.stdout, re.M) == ["True", "False"]
    rows = re.findall(r"^\| small \| (\S+)( \*\*too much\*\*)? \| \d+ \| - \| - \|$", ran.stdout, re.M)
    assert [bool(too_much) for _, too_much in rows] == [False, True]
    assert 0 < float(rows[0][0]) < 2e-3
    assert "flash-attn is not installed" in ran.stdout

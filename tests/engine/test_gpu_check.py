"""``tools/gpu-check`` as far as it goes without a GPU: its measuring runs on the stand-ins, and measures them."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"


def run_shell(tmp_path: Path, *arguments: str) -> tuple[int, list[str]]:
    """Exit code and complaints of the script, on a PATH that has nothing of NVIDIA's."""
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
    """The folder is looked for where the caller is, blanks in its name and all."""
    (tmp_path / "my model").mkdir()
    code, [line] = run_shell(tmp_path, "my model")
    assert code == 1
    assert "nvidia-smi is not on PATH" in line


def test_a_model_that_is_not_there_is_told_of_before_anything_is_built(tmp_path: Path) -> None:
    """By the name that was given."""
    code, [line] = run_shell(tmp_path, "no model")
    assert code == 1
    assert "no folder 'no model'" in line


@pytest.mark.torch
def test_both_ways_inside_the_process_are_measured(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every stream is answered to its last token, straight and through the executor."""
    pytest.importorskip("jan.engine.exllamav2", reason="ExLlamaV2 is not installed", exc_type=ImportError)
    monkeypatch.syspath_prepend(str(TOOLS))
    import gpu_check
    from exllamav2_support import any_device

    from jan.engine.exllamav2 import ExLlamaV2Options

    options = ExLlamaV2Options(model=str(tiny_folder), context=256, chunk=256, slots=2)
    check = gpu_check.Check(options, 16, 4, any_device())
    check.load()
    assert check.straight(2, 0)[0] > 0
    check.backend.close()
    asyncio.run(gpu_check.measure_executor(check, {1: 1.0, 2: 1.0}))
    sys.modules.pop("gpu_check")

"""The ``jan`` command in a process of its own, to its end."""

import os
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from support.patience import code_of
from support.server import start_jan


def run_jan(
    *arguments: str, cwd: Path | None = None, environ: Mapping[str, str] | None = None, seconds: float = 60
) -> "subprocess.CompletedProcess[str]":
    """Run ``jan`` with these arguments, and with these variables beside our own."""
    process = start_jan(arguments, cwd or Path.cwd(), {**os.environ, **(environ or {})})
    assert process.stdout is not None
    assert process.stderr is not None
    with ThreadPoolExecutor(2) as pool:
        printed, complaints = (pool.submit(pipe.read) for pipe in (process.stdout, process.stderr))
        code = code_of(process, seconds)
    assert code is not None, f"jan {' '.join(arguments)} does not end: {complaints.result()}"
    process.stdout.close()
    process.stderr.close()
    return subprocess.CompletedProcess(process.args, code, printed.result(), complaints.result())

"""vLLM's and SGLang's own parsers of answers, and answers for them to read."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from support.install import NotInstalled, alone, fill_once

HERE = Path(__file__).parent
_PROGRAM = ("ask.py", "standins.py", "vocabulary.py", "marks.txt")
_SECONDS = 240


def ask(cache: Path, questions: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what the peers' parsers read in each question: by peer, whole and streamed.

    The parsers are installed once into the cache, and what they said is kept there until a question changes.
    """
    packages = _installed(cache)
    asked = json.dumps({"questions": list(questions), "tools": list(tools)}, sort_keys=True).encode()
    program = b"".join((HERE / part).read_bytes() for part in _PROGRAM)
    with alone(cache, f"{packages.name}-{_digest(asked + program)}.json") as kept:
        if not kept.exists():
            for outdated in cache.glob(f"{packages.name}-*.json"):
                outdated.unlink(missing_ok=True)
            answered = _answer(packages, asked)
            kept.with_suffix(".part").write_bytes(answered)
            kept.with_suffix(".part").rename(kept)
        readings: list[dict[str, Any]] = json.loads(kept.read_bytes())
    return readings


def _installed(cache: Path) -> Path:
    """Return the folder of the parsers. Where they can't be installed tests are skipped, but not in CI."""
    install = HERE / "install.py"
    try:
        return fill_once(cache, f"peer-parsers-{_digest(install.read_bytes())}", sys.executable, str(install))
    except NotInstalled as problem:
        stop = pytest.fail if os.environ.get("CI") else pytest.skip
        stop(f"can't install the peers' parsers: {problem}")


def _answer(packages: Path, asked: bytes) -> bytes:
    # Without this environment's own packages, some of which are of other versions.
    command = [sys.executable, "-I", "-S", str(HERE / "ask.py"), str(packages)]
    return subprocess.run(command, input=asked, stdout=subprocess.PIPE, check=True, timeout=_SECONDS).stdout


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]

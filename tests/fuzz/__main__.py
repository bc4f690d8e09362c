"""Runs one target: ``python -m fuzz TARGET --minutes 10``. Needs the package atheris."""

import argparse
import importlib
import sys
import tempfile
from pathlib import Path

from fuzz.runs import TARGETS, FuzzRun


def main() -> None:
    """Fuzz one target, and write each finding to a file."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--findings", type=Path, default=None, help="the folder to write findings to")
    given = parser.parse_args()
    import atheris

    with atheris.instrument_imports(include=["jan", "handlers"]):
        target = importlib.import_module(f"fuzz.{given.target}")
    run = FuzzRun(target, given.findings or Path(tempfile.mkdtemp(prefix="fuzz-")))
    arguments = run.arguments(given.minutes)
    own = {"custom_mutator": run.mutate} if hasattr(target, "mutate") else {}
    atheris.Setup([sys.argv[0], *arguments], run.one, **own)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

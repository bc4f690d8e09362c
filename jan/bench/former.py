"""Another checkout of this project, usually of a commit before, measured in the same run."""

import subprocess
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from jan.bench.bench_error import BenchError
from jan.bench.ours import jan_server
from jan.bench.plan import Plan, Stage
from jan.bench.processes import ServerUnderTest

FORMER = "jan before"
_GIT_SECONDS = 10.0


def try_former(
    stage: Stage, plan: Plan, models: Sequence[dict[str, Any]], *, limits: dict[str, Any] | None = None
) -> ServerUnderTest | None:
    """The other checkout's server with the same configuration; None if no other checkout was named.

    Raises BenchError if its folder is no checkout, or its server does not start.
    """
    if plan.against is None:
        stage.missing[FORMER] = "No other checkout was named with --against."
        return None
    plan.say(f"{FORMER}: starting {describe_checkout(plan.against)}")
    return stage.enter(_former_server(plan.against, plan.folder, models, limits))


def _former_server(
    checkout: Path, folder: Path, models: Sequence[dict[str, Any]], limits: dict[str, Any] | None
) -> AbstractContextManager[ServerUnderTest]:
    for needed in ("jan/__main__.py", "conf/jan.yaml"):
        if not (checkout / needed).is_file():
            raise BenchError(f"{checkout} is no checkout of Jan Server: it has no {needed}.")
    return jan_server(folder, models, name=FORMER, limits=limits, checkout=checkout.resolve())


def describe_checkout(checkout: Path) -> str:
    """Name what is checked out there: a commit where git knows it, else the folder's name."""
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return checkout.resolve().name
    return f"commit {done.stdout.strip()}" if done.returncode == 0 else checkout.resolve().name


def notes_on(checkout: Path | None) -> tuple[str, ...]:
    """Say in the report what the other checkout is, and which of its costs are the bench's own."""
    if checkout is None:
        return ()
    return (
        f"{FORMER}: {describe_checkout(checkout)}, with its own echo engine. One that makes all words of an "
        "answer before it begins has at most 600 of them to make.",
    )

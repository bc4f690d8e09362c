"""Processes that are forked are as good as those that start by themselves."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.command import run_jan
from support.cpu import family_seconds
from support.forked import can_fork
from support.patience import kill
from support.server import ECHO_CONFIG, ServerProcess


@pytest.mark.parametrize(
    "arguments",
    [["--version"], ["--help"], ["check", "jan.yaml"], ["check", "none.yaml"], ["routes", "--config", "jan.yaml"]],
    ids=str,
)
def test_a_command_says_the_same_either_way(tmp_path: Path, arguments: list[str]) -> None:
    """Output, complaints and exit code, with files and variables of the command's own."""
    (tmp_path / "jan.yaml").write_text(ECHO_CONFIG)
    changed = {"JAN__SERVER__PORT": "none of the numbers" if "routes" in arguments else "1234"}
    alone = subprocess.run(
        [sys.executable, "-m", "jan", *arguments],
        cwd=tmp_path,
        env={**os.environ, **changed},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    forked = run_jan(*arguments, cwd=tmp_path, environ=changed)
    assert (forked.returncode, forked.stdout, forked.stderr) == (alone.returncode, alone.stdout, alone.stderr)


def test_a_forked_server_is_a_process(tmp_path: Path) -> None:
    """It takes signals, its end is told by its code, and its CPU time counts for the tests."""
    before = family_seconds()
    config = tmp_path / "jan.yaml"
    config.write_text(ECHO_CONFIG)
    first, second = ServerProcess(config), ServerProcess(config)
    assert first.pid != second.pid
    assert Path(f"/proc/{first.pid}/cwd").resolve() == tmp_path.resolve()
    kill(first._process)
    assert (first.running, second.running, first.wait()) == (False, True, -signal.SIGKILL)
    assert second.stop() == 0
    assert family_seconds() > before


def test_what_is_read_at_the_start_forbids_forking() -> None:
    """Whether it is set or changed; other variables are read later."""
    assert can_fork({**os.environ, "JAN__SERVER__PORT": "1", "ANY_OTHER": "1"})
    assert not can_fork({**os.environ, "LD_PRELOAD": "libfaketime.so"})
    assert not can_fork({**os.environ, "TZ": "Asia/Kolkata"})
    assert not can_fork(
        {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"LANG": "x"}
    )

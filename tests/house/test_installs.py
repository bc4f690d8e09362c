"""The tests' own cache: what several runs need at a time is installed by one of them, and found whole by all."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.install import NotInstalled, fill_once, run_installer

# Waits until somebody else had time to find the folder empty; it can't tell who waits for it.
FILL = "echo begun >> ../../log; sleep 0.2; echo done > whole"


def test_of_many_at_a_time_one_installs(tmp_path: Path) -> None:
    """The others wait for it and find the folder whole."""
    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(lambda _: fill_once(tmp_path, "thing", "sh", "-c", FILL), range(4)))
    assert folders == [tmp_path / "thing"] * 4
    assert (tmp_path / "log").read_text() == "begun\n"
    assert (tmp_path / "thing" / "whole").read_text() == "done\n"


def test_what_failed_is_tried_again(tmp_path: Path) -> None:
    """Nothing half done is left, what the installer said is told, and the next test's attempt is a new one."""
    with pytest.raises(NotInstalled, match="no such registry"):
        fill_once(tmp_path, "thing", "sh", "-c", "echo half > whole; echo no such registry; exit 1")
    assert not (tmp_path / "thing").exists()
    assert (fill_once(tmp_path, "thing", "sh", "-c", FILL) / "whole").read_text() == "done\n"


def test_an_installer_that_hangs_gets_a_second_attempt(tmp_path: Path) -> None:
    """It is killed, though its children keep its output open; only if it hangs again nothing is installed."""
    hangs_once = "test -e begun && exit; touch begun; sleep 60 & wait"
    run_installer(["sh", "-c", hangs_once], tmp_path, seconds=2)
    with pytest.raises(NotInstalled, match="timed out"):
        run_installer(["sh", "-c", "sleep 60 & wait"], tmp_path, seconds=0.2)

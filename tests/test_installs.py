"""The tests' own cache: what several runs need at a time is installed by one of them, and found whole by all."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import CalledProcessError

import pytest
from install_support import fill_once

# Waits until somebody else had time to find the folder empty; it can't tell who waits for it.
FILL = "echo begun >> ../../log; sleep 0.2; echo done > whole"


def test_of_many_at_a_time_one_installs(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(lambda _: fill_once(tmp_path, "thing", "sh", "-c", FILL), range(4)))
    assert folders == [tmp_path / "thing"] * 4
    assert (tmp_path / "log").read_text() == "begun\n"
    assert (tmp_path / "thing" / "whole").read_text() == "done\n"


def test_what_failed_is_tried_again(tmp_path: Path) -> None:
    with pytest.raises(CalledProcessError):
        fill_once(tmp_path, "thing", "sh", "-c", "echo half > whole; exit 1")
    assert not (tmp_path / "thing").exists()
    assert (fill_once(tmp_path, "thing", "sh", "-c", FILL) / "whole").read_text() == "done\n"

"""``jan bench`` as people run it: each scenario measures something of everybody, and leaves nothing running."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.command import run_jan
from support.server import ROOT

from jan.bench.scenarios import SCENARIOS

pytestmark = pytest.mark.slow

# scenario -> its cases, each with who is measured in it
CASES: dict[str, dict[str, set[str]]] = {
    "stream": {
        name: {"jan", "bare asyncio"}
        for name in (
            "1 stream",
            "16 streams",
            "64 streams",
            "256 streams",
            "1,024 streams",
            "64 streams, paced",
        )
    },
    "overhead": {name: {"jan", "bare handler"} for name in ("1 client", "16 clients")},
    "model": {name: {"jan", "jan, on a thread", "in-process"} for name in ("1 stream", "4 streams", "8 streams")},
    "contention": {
        f"8 streams{python}{isolated}": {"0 clients", "64 clients", "256 clients"}
        for python in ("", ", 3 ms in Python")
        for isolated in ("", ", in a process")
    },
    "isolation": {
        **{name: {"thread", "process"} for name in ("64 streams", "64 streams, paced", "whole answers")},
        "after a kill": {"start and backoff", "process"},
    },
    "cancel": {"one slot": {"slot of who left", "free slot"}},
    "start": {
        "import": {"jan", "python alone"},
        "ready": {"jan"},
        "256 streams": {"jan", "jan, afterwards"},
    },
    "store": {
        "append a message": {"at 10", "at 30", "at 60"},
        "read ten messages": {"at 10", "at 30", "at 60"},
        "list ten conversations": {"at 10", "at 40"},
    },
}


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Whatever the harness starts has this folder in its command or works in it."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": path, **more}


def bench(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "jan", "bench", *arguments],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def running_in(folder: Path) -> list[str]:
    """The commands of processes that the harness has started with this folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        command = " ".join(process.info["cmdline"] or ())
        # Not the harness itself, which works in the folder too.
        if f"{folder}/jan-bench-" in f"{command} {process.info['cwd']}":
            found.append(command)
    return found


@pytest.mark.parametrize(
    "scenario", [pytest.param(name, marks=pytest.mark.model) if name == "model" else name for name in SCENARIOS]
)
def test_a_scenario_measures_everybody_in_every_case(tmp_path: Path, scenario: str) -> None:
    """A table on standard output, all of it as JSON, nothing left running and no file left behind."""
    ran = bench(tmp_path, scenario, "--quick", "--json", "out.json")
    assert ran.returncode == 0, ran.stderr
    report = json.loads((tmp_path / "out.json").read_text())
    [result] = report["results"]
    rows = {(row["case"], row["who"]): row["values"] for row in result["rows"]}
    assert rows.keys() == {(case, who) for case, names in CASES[scenario].items() for who in names}
    measures = {name for values in rows.values() for name in values}
    assert {column["name"] for column in result["columns"]} <= measures
    for case, who in rows:
        assert any(case in line and who in line for line in ran.stdout.splitlines())
    if scenario == "stream":
        assert {rows[case, "bare asyncio"]["delivered"]["median"] for case, _ in rows} == {1.0}
        assert all(0 < rows[case, "jan"]["delivered"]["median"] <= 1 for case, _ in rows)
        for values in rows.values():
            parts = values["set_up"]["median"] + 20 * values["token"]["median"]
            assert parts == pytest.approx(20 * values["cpu_per_token"]["median"])
    if scenario == "contention":
        busy = [values for (_, who), values in rows.items() if who != "0 clients"]
        assert all(values["requests_per_second"]["median"] > 0 for values in busy)
    assert all(target["aim"] in ran.stdout for target in result["targets"])
    assert report["machine"]["cores"] >= 1
    assert report["command"] == f"tools/bench {scenario} --rounds 5 --seconds 1 --quick"
    assert running_in(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


@pytest.mark.parametrize(("scenario", "case"), [("stream", "1 stream"), ("overhead", "1 client")])
def test_another_checkout_is_measured_in_the_same_rounds(tmp_path: Path, scenario: str, case: str) -> None:
    """The report compares with it, and tells what it is, but not where it lies."""
    options = ("--quick", "--case", case, "--against", str(ROOT), "--json", "out.json")
    ran = bench(tmp_path, scenario, *options)
    assert ran.returncode == 0, ran.stderr
    report = json.loads((tmp_path / "out.json").read_text())
    [result] = report["results"]
    rows = {row["who"]: row for row in result["rows"]}
    assert rows["jan before"]["values"].keys() == rows["jan"]["values"].keys()
    assert len(rows["jan before"]["ratio"]["samples"]) == 1
    assert [note.partition(":")[0] for note in result["notes"]] == ["jan before"]
    compared = [target for target in result["targets"] if target["aim"].startswith(f"{case}: CPU a request")]
    assert all(target["value"] > 0 for target in compared)
    assert report["command"].endswith(f"--against {ROOT.name} --quick")
    assert str(ROOT) not in json.dumps(report)
    assert running_in(tmp_path) == []


def test_apis_are_compared_with_chat_completions(tmp_path: Path) -> None:
    """Every token comes in a frame of its own, and is counted, whichever API says so."""
    case, apis = "64 streams", ("responses", "messages", "ollama")
    options = [option for api in apis for option in ("--api", api)]
    ran = bench(tmp_path, "stream", *options, "--quick", "--case", case, "--json", "out.json")
    assert ran.returncode == 0, ran.stderr
    report = json.loads((tmp_path / "out.json").read_text())
    [result] = report["results"]
    rows = {row["who"]: row for row in result["rows"]}
    assert result["scenario"] == "stream-apis"
    assert rows.keys() == {"chat", *apis, "responses, stored"}
    assert {row["values"]["delivered"]["median"] for row in rows.values()} == {1.0}
    measured = {target["aim"]: target["value"] for target in result["targets"] if target["value"] is not None}
    aims = {f"{case}: CPU a token of {api} at most 1.15 of chat's": api for api in apis}
    assert measured == {aim: rows[api]["ratio"]["median"] for aim, api in aims.items()}
    assert report["command"].endswith("--case '64 streams' --api responses --api messages --api ollama --quick")
    assert running_in(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("streams",), 2, "There is no scenario 'streams'; available: stream, overhead"),
        (("cancel", "--quick", "--case", "two slots"), 1, "There is no case 'two slots'; available: one slot."),
        (("--rounds", "0"), 2, "0 is not in the range"),
        (("cancel", "--against", "nowhere"), 2, "Directory 'nowhere' does not exist"),
        (("cancel", "--api", "chat"), 2, "--api is for 'stream' alone"),
        (("stream", "--api", "chat", "--peer", "FastAPI"), 2, "compares with no --peer and no --against"),
        (("stream", "--quick", "--against", "."), 1, ". is no checkout of Jan Server"),
    ],
)
def test_a_wrong_name_is_told(tmp_path: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    ran = run_jan("bench", *arguments, cwd=tmp_path, environ={"TMPDIR": str(tmp_path)})
    assert ran.returncode == code
    assert words in ran.stderr
    assert "Traceback" not in ran.stderr


def test_without_its_extra_it_says_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['psutil'] = None; from jan.cli.commands import main; main(['bench', 'cancel'])"
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment(tmp_path), capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    assert ran.stderr == "jan bench: The package 'psutil' is missing: pip install 'jan-server[bench]'.\n"


def test_stopped_in_the_middle_it_stops_what_it_started(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "jan", "bench", "cancel", "--rounds", "100"],
        env=environment(tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 30
        while not running_in(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert running_in(tmp_path)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM
        assert running_in(tmp_path) == []
        assert list(tmp_path.iterdir()) == []
    finally:
        process.kill()
        process.wait()


def test_a_missed_target_is_an_exit_code_where_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    import jan.bench.run
    from jan.bench.results import BenchReport, Machine, Result, Target
    from jan.cli.commands import main

    def measure(*_: Any) -> BenchReport:
        missed = Target.at_least("fast", 2.0, 1.0)
        result = Result("stream", "About.", "x", (), (), (missed,))
        return BenchReport("1", "2026-01-01", "tools/bench", Machine("p", 1, "s", "3"), (result,))

    monkeypatch.setattr(jan.bench.run, "measure", measure)
    assert CliRunner().invoke(main, ["bench", "stream"]).exit_code == 0
    checked = CliRunner().invoke(main, ["bench", "stream", "--check"])
    assert checked.exit_code == 3
    assert checked.output == "p, 1 cores, s, Python 3\n"

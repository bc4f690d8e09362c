"""Another checkout as one more contestant, in a process that runs its code and not this one's."""

import http.client
import json
import shutil
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest
from support.server import ROOT

from jan import __version__
from jan.bench.bench_error import BenchError
from jan.bench.former import FORMER, describe_checkout, notes_on, try_former
from jan.bench.ours import echo_model
from jan.bench.plan import Plan, Stage
from jan.bench.processes import ServerUnderTest


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    folder = tmp_path / "run"
    folder.mkdir()
    return Plan(folder=folder, cache=tmp_path / "cache", say=lambda _line: None)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of this code that gives itself another version."""
    copy = tmp_path / "before"
    for name in ("jan", "handlers", "conf"):
        shutil.copytree(ROOT / name, copy / name)
    package = copy / "jan" / "__init__.py"
    package.write_text(package.read_text().replace(__version__, "0.0.7"))
    return copy


def version_of(server: ServerUnderTest) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", "/api/openapi.json")
    version: str = json.loads(connection.getresponse().read())["info"]["version"]
    connection.close()
    return version


def test_the_former_server_runs_the_other_checkouts_code(plan: Plan, checkout: Path) -> None:
    plan = msgspec.structs.replace(plan, against=checkout)
    with ExitStack() as stack:
        stage = Stage(stack, plan)
        server = try_former(stage, plan, [echo_model()])
        assert server is not None
        assert version_of(server) == "0.0.7"
        assert (server.name, stage.missing) == (FORMER, {})
        assert str(checkout / "conf" / "jan.yaml") in next(plan.folder.glob("*/jan.yaml")).read_text()


def test_without_another_checkout_it_is_left_out(plan: Plan) -> None:
    with ExitStack() as stack:
        stage = Stage(stack, plan)
        assert try_former(stage, plan, [echo_model()]) is None
    assert stage.missing == {FORMER: "No other checkout was named with --against."}
    assert notes_on(None) == ()


def test_a_folder_that_is_no_checkout_is_told(plan: Plan, tmp_path: Path) -> None:
    """It was asked for, so it is not left out in silence."""
    plan = msgspec.structs.replace(plan, against=tmp_path)
    with ExitStack() as stack, pytest.raises(BenchError, match=r"is no checkout .*: it has no jan/__main__\.py"):
        try_former(Stage(stack, plan), plan, [echo_model()])


def test_the_report_names_what_was_checked_out(tmp_path: Path) -> None:
    """By its folder where git knows nothing of it."""
    assert describe_checkout(tmp_path) == tmp_path.name
    [note] = notes_on(tmp_path)
    assert note.startswith(f"{FORMER}: {tmp_path.name}, with its own echo engine.")

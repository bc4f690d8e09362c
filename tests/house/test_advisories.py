"""No known vulnerability in what is installed, by pip-audit: what the server needs and what its tests need."""

import json
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path

import pytest
from support.dependency import extras, pulled_in
from support.server import ROOT

pytestmark = pytest.mark.slow

#: Vulnerable by every source of advisories. One that doesn't say so has none: an index that serves no advisories
#: answers 404, which is the same to pip-audit as a package that nobody knows.
CANARY = ("jinja2", "2.10")
#: Known vulnerabilities that can't be reached here, each with why: reviewed when the entry is made.
REVIEWED: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["jan"]["advisories"]


class NoAdvisories(Exception):
    """The source can't be asked, or doesn't know what it must; the message says which."""


def installed() -> dict[str, str]:
    """Every package by the version that an index has it under: without a build's local part."""
    packages = {name: found for extra in ("", *extras()) for name, found in pulled_in(extra).items()}
    return {name: found.version.partition("+")[0] for name, found in sorted(packages.items())}


def audit(packages: Mapping[str, str], folder: Path, *source: str) -> dict[str, list[str]]:
    """The ids of what is known of each package. A package that the source doesn't know is an error."""
    asked = folder / "requirements.txt"
    asked.write_text("".join(f"{name}=={number}\n" for name, number in packages.items()))
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(asked), "--no-deps", "--disable-pip"]
    command += ["--format", "json", "--progress-spinner", "off", "--cache-dir", str(folder / "cache"), *source]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if not ran.stdout:
        raise NoAdvisories(ran.stderr.strip().rpartition("\n")[2])
    answered = json.loads(ran.stdout)["dependencies"]
    if skipped := [entry["skip_reason"] for entry in answered if "skip_reason" in entry]:
        raise NoAdvisories("; ".join(skipped))
    return {entry["name"]: [_name(found) for found in entry["vulns"]] for entry in answered}


def _name(found: dict[str, object]) -> str:
    return " ".join([str(found["id"]), *map(str, found["aliases"])])  # type: ignore[call-overload]


def check_source(folder: Path, *source: str) -> None:
    """Raises:
    NoAdvisories: the source doesn't know of the canary.
    """
    name, number = CANARY
    if not audit({name: number}, folder, *source)[name]:
        raise NoAdvisories(f"it knows nothing of {name} {number}")


def unreviewed(packages: Mapping[str, str], reviewed: Mapping[str, str], folder: Path, *source: str) -> list[str]:
    """List known advisories without an entry under any of their names, and entries that nothing needs."""
    known = [(package, ids) for package, found in audit(packages, folder, *source).items() for ids in found]
    names = {name for _, ids in known for name in ids.split()}
    found = [f"{package}: {ids}" for package, ids in known if reviewed.keys().isdisjoint(ids.split())]
    return found + [f"needless entry: {name}" for name in reviewed.keys() - names]


def test_nothing_installed_has_a_known_vulnerability(tmp_path: Path) -> None:
    """By the first source that can be asked."""
    refusals = []
    for service in ("pypi", "osv"):
        source = ("--vulnerability-service", service)
        try:
            check_source(tmp_path, *source)
        except NoAdvisories as error:
            refusals.append(f"{service}: {error}")
        else:
            assert unreviewed(installed(), REVIEWED, tmp_path, *source) == []
            return
    pytest.skip(f"no source of advisories can be asked: {'; '.join(refusals)}")


def test_what_is_audited_is_what_this_server_needs() -> None:
    assert {"tornado", "pymongo", "cryptography", "pytest", "pip-audit"} <= installed().keys()
    assert all(why.strip() for why in REVIEWED.values())


class OsvServer:
    """OSV's protocol, as far as pip-audit speaks it: the ids of advisories by (name, version) of a package."""

    def __init__(self, known: Mapping[tuple[str, str], list[str]]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                """Answer without a log line."""

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                ids = known.get((asked["package"]["name"], asked["version"]))
                body = json.dumps({"vulns": [_advisory(ids, asked["package"])]} if ids else {}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{self._server.server_port}/v1/query"
        self.source = ("--vulnerability-service", "osv", "--osv-url", url)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _advisory(ids: list[str], package: dict[str, str]) -> dict[str, object]:
    return {"id": ids[0], "aliases": ids[1:], "summary": "Bad.", "affected": [{"package": package}]}


TORNADO = ("tornado", version("tornado"))


@pytest.fixture
def osv(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[OsvServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = OsvServer(request.param)
    yield server
    server.close()


@pytest.mark.parametrize("osv", [{CANARY: ["PYSEC-1"], TORNADO: ["PYSEC-2", "CVE-2"]}], indirect=True)
def test_a_known_vulnerability_of_what_is_installed_is_found(osv: OsvServer, tmp_path: Path) -> None:
    """Unless it has an entry by one of its names; an entry that outlived its reason is found too."""
    check_source(tmp_path, *osv.source)
    assert unreviewed(installed(), {}, tmp_path, *osv.source) == ["tornado: PYSEC-2 CVE-2"]
    assert unreviewed(installed(), {"CVE-2": "no code of ours does that"}, tmp_path, *osv.source) == []
    left = unreviewed({"pymongo": "1"}, {"CVE-2": "no code of ours does that"}, tmp_path, *osv.source)
    assert left == ["needless entry: CVE-2"]


@pytest.mark.parametrize("osv", [{}], indirect=True)
def test_a_source_that_knows_nothing_is_none(osv: OsvServer, tmp_path: Path) -> None:
    with pytest.raises(NoAdvisories, match=r"knows nothing of jinja2 2\.10"):
        check_source(tmp_path, *osv.source)


@pytest.mark.parametrize("osv", [{}], indirect=True)
def test_a_source_that_is_gone_is_none(osv: OsvServer, tmp_path: Path) -> None:
    osv.close()
    with pytest.raises(NoAdvisories, match="refused"):
        check_source(tmp_path, *osv.source)

"""Check the site of docs/: it builds without a broken link, and loads nothing from elsewhere when it is read."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import distributions
from pathlib import Path
from threading import Thread

import pytest
from support.browser import chromium
from support.dependency import refused
from support.install import NotInstalled, alone, run_installer
from support.server import ROOT

pytestmark = pytest.mark.slow

REQUIREMENTS = ROOT / "requirements" / "docs.txt"
PAGES = sorted(path.stem for path in ROOT.glob("docs/*.md"))
_BUILD_SECONDS = 120
# Elements and style sheets that make a browser fetch something by itself.
FETCHED = re.compile(r"<(?:script|img|iframe|source|video|audio)\b[^>]*\bsrc=[\"']?([^\"'\s>]+)|<link\b([^>]*)>")
STYLED = re.compile(r"(?:url\(|@import\s+)[\"']?([^\"')\s]+)")


@pytest.fixture(scope="module")
def environment(cache_dir: Path) -> Path:
    """A virtual environment with the site's builder, installed once for each list of requirements."""
    number = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]
    with alone(cache_dir, f"docs-{number}") as home:
        if not (home / "complete").exists():
            shutil.rmtree(home, ignore_errors=True)
            try:
                run_installer([sys.executable, "-m", "venv", str(home)])
                install = [str(home / "bin" / "pip"), "install", "--quiet", "--require-hashes", "--no-deps"]
                run_installer([*install, "--requirement", str(REQUIREMENTS)])
            except NotInstalled as problem:
                shutil.rmtree(home, ignore_errors=True)
                stop = pytest.fail if os.environ.get("CI") else pytest.skip
                stop(f"can't install {REQUIREMENTS}, whose packages build the documents: {problem}")
            (home / "complete").touch()
    return home


def _build(environment: Path, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Build the project in a folder, as `tools/docs build --strict` does."""
    command = [str(environment / "bin" / "zensical"), "build", "--strict"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False)


def _copy(folder: Path) -> Path:
    """Copy what the site is made of, so that the checkout stays as it is."""
    shutil.copytree(ROOT / "docs", folder / "docs")
    shutil.copy(ROOT / "zensical.toml", folder)
    return folder


@pytest.fixture(scope="module")
def site(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site's folder."""
    folder = _copy(tmp_path_factory.mktemp("docs"))
    built = _build(environment, folder)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder / "site"


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """The URL of a web server on this machine that has the built site."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Answer without a log line."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_every_page_is_built_and_in_the_navigation(site: Path) -> None:
    """Each file of docs/ is a page, and the home page leads to it."""
    home = (site / "index.html").read_text()
    assert {path.stem for path in site.glob("*.html")} == {*PAGES, "404"}
    assert [name for name in PAGES if name != "index" and f'href="{name}.html"' not in home] == []


@pytest.mark.parametrize("link", ["nowhere.md", "errors.md#nowhere", "../README.md"])
def test_a_broken_link_fails_the_build(environment: Path, tmp_path: Path, link: str) -> None:
    """A missing page, a missing anchor and a link out of the site are each an error that names the page."""
    page = _copy(tmp_path) / "docs" / "models.md"
    page.write_text(f"{page.read_text()}\n[broken]({link})\n")
    built = _build(environment, tmp_path)
    assert built.returncode != 0
    assert "models.md" in built.stdout + built.stderr


def test_pages_name_nothing_elsewhere_to_fetch(site: Path) -> None:
    """No script, picture, style sheet or font of any page or style sheet has an address of its own host."""
    named: list[str] = []
    for path in site.rglob("*.html"):
        for source, attributes in FETCHED.findall(path.read_text()):
            named += [source, *re.findall(r"\bhref=[\"']?([^\"'\s>]+)", attributes)]
    for path in site.rglob("*.css"):
        named += STYLED.findall(path.read_text())
    assert named
    assert [url for url in named if re.match(r"(https?:)?//", url)] == []


@pytest.mark.browser
def test_a_reader_asks_nobody_else(address: str, tmp_path: Path) -> None:
    """A browser that opens each page, and searches, asks this host alone and complains of nothing."""
    requests: list[str] = []
    complaints: list[str] = []
    with chromium(tmp_path) as browser:
        page = browser.new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.append(f"{request.url}: {request.failure}"))
        for name in PAGES:
            page.goto(f"{address}/{name}.html", wait_until="networkidle")
            assert page.locator("h1").first.inner_text()
        page.get_by_role("button", name="Search").click()
        page.get_by_role("combobox").fill("deficit round robin")
        page.get_by_role("option", name="The queue").click()
        page.wait_for_url(f"{address}/api-behaviour.html**")
    assert f"{address}/index.html" in requests
    assert [url for url in requests if not url.startswith((f"{address}/", "data:", "blob:"))] == []
    assert complaints == []


def test_whatever_builds_the_site_may_be_used_by_anyone(environment: Path) -> None:
    """The builder and all that it pulls in have licences that let anyone use, change and pass it on."""
    (packages,) = environment.glob("lib/python*/site-packages")
    found = {package.metadata["Name"]: package.metadata for package in distributions(path=[str(packages)])}
    assert "zensical" in found
    assert refused((name, metadata) for name, metadata in found.items()) == {}

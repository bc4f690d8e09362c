"""The page as files: who gets it, how it is cached, what it may do, and that its words are complete."""

import gzip
import json
import re
from collections.abc import Iterator
from typing import get_args

import httpx
import pytest
from support.server import ROOT

from handlers.page.bundle import first_scripts, page_bundle
from jan.audit.acts import Act
from jan.schema.scopes import ADMIN_SCOPES
from jan.testing import ThreadServer, served

STATIC = ROOT / "handlers" / "page" / "static"
SCRIPTS = sorted(STATIC.rglob("*.js"))
HTML = {"Accept": "text/html,application/xhtml+xml"}
LANGUAGES = sorted(path.stem for path in STATIC.glob("words/*.json"))
# Plural categories of CLDR 46.
PLURALS = {
    "ar": {"zero", "one", "two", "few", "many", "other"},
    "ja": {"other"},
    "de": {"one", "other"},
    "en": {"one", "other"},
    "es": {"one", "many", "other"},
    "fr": {"one", "many", "other"},
}
FIRST_LOAD_BYTES = 60_000


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadServer]:
    with served() as server:
        yield server
        assert server.errors == []


def shell(server: ThreadServer) -> httpx.Response:
    return server.client.get("/", headers=HTML)


def words(language: str) -> dict[str, str | dict[str, str]]:
    found: dict[str, str | dict[str, str]] = json.loads((STATIC / "words" / f"{language}.json").read_text())
    return found


def texts(word: str | dict[str, str]) -> list[str]:
    return [word] if isinstance(word, str) else list(word.values())


def on_demand() -> set[str]:
    """Return the names of the scripts that others load when they need them."""
    return {
        (path.parent / name).resolve().relative_to(STATIC).as_posix()
        for path in SCRIPTS
        for name in re.findall(r'(?<!\{)import\("(\.[^"]+)"\)', path.read_text())
    }


def test_a_browser_gets_the_page_and_others_the_reference(server: ThreadServer) -> None:
    """`Accept` decides. What `/` answers to API clients stays as it was, for HEAD too."""
    page = shell(server)
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "Accept" in page.headers["vary"]
    for accept in ({}, {"Accept": "application/json"}, {"Accept": "*/*"}):
        for method in ("GET", "HEAD"):
            other = server.client.request(method, "/", headers=accept)
            assert (other.status_code, other.headers["location"]) == (302, "api/swagger/index.html")
    head = server.client.head("/", headers=HTML)
    assert (head.status_code, head.content) == (200, b"")


def test_the_page_can_be_switched_off() -> None:
    """`endpoints: {page: off}` leaves the redirect to the reference, also for browsers, and no file."""
    with served("extends: default\nendpoints: {page: off}\nmodels: [{id: echo, engine: echo}]") as server:
        assert shell(server).headers["location"] == "api/swagger/index.html"
        assert server.client.get("/sw.js").status_code == 404
        assert server.client.get("/page/x/app.js").status_code == 404


def test_the_page_may_run_and_load_only_its_own_files(server: ThreadServer) -> None:
    """The policy forbids everything else: inline scripts and styles, other hosts, frames, and HTML of texts."""
    page = shell(server)
    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' blob:",
        "connect-src": "'self'",
        "manifest-src": "'self'",
        "worker-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "jan",
    }
    assert page.headers["referrer-policy"] == "no-referrer"
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=|javascript:", page.text)
    assert not [
        (script.name, sink)
        for script in SCRIPTS
        for sink in ("outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "srcdoc")
        if sink in script.read_text()
    ]
    assert [script.name for script in SCRIPTS if "innerHTML" in script.read_text()] == ["dom.js", "html.js"]


def test_files_are_kept_for_ever_under_their_hash(server: ThreadServer) -> None:
    """Each file that the shell names is there, compressed for those who take it; another version's is not."""
    names = re.findall(r'(?:href|src)="(page/[^"]+)"', shell(server).text)
    assert len(names) > 10
    for name in {*names}:
        sent = server.client.get(f"/{name}")
        assert sent.status_code == 200, name
        assert sent.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert sent.headers["content-encoding"] == "gzip" if "png" not in name else True
        plain = server.client.get(f"/{name}", headers={"Accept-Encoding": "identity"})
        assert "content-encoding" not in plain.headers
        assert plain.content == sent.content
    current = server.client.get("/page/current/app.js")
    assert (current.status_code, current.headers["cache-control"]) == (200, "no-store")
    old = server.client.get("/page/0123456789abcdef/app.js")
    assert (old.status_code, old.headers["cache-control"]) == (404, "no-store")
    assert server.client.get(f"/{names[0].rpartition('/')[0]}/../bundle.py").status_code == 404


def test_the_first_load_is_small(server: ThreadServer) -> None:
    """Shell, styles, the scripts that the shell asks for, and the words of one language: all compressed."""
    text = shell(server).text
    names = {*re.findall(r'(?:href|src)="page/[0-9a-f]+/([^"]+)"', text), f"words/{LANGUAGES[0]}.json"}
    files = [page_bundle("api/v1").files[name] for name in names]
    size = len(gzip.compress(text.encode(), 9)) + sum(len(file.zipped or file.plain) for file in files)
    assert size <= FIRST_LOAD_BYTES


def test_the_shell_asks_at_once_for_every_script_that_is_imported() -> None:
    """The browser does not find them one after the other; those that are imported on demand are left out."""
    sources = {path.relative_to(STATIC).as_posix(): path.read_bytes() for path in SCRIPTS}
    first = first_scripts(sources)
    assert first[0] == "app.js"
    assert "lib/dom.js" in first
    assert on_demand()
    assert not on_demand() & set(first)
    assert {*first, *on_demand()} <= {*sources}
    assert all(len(path.read_text().splitlines()) <= 270 for path in SCRIPTS)


def test_nothing_in_the_files_names_another_host() -> None:
    """No address but the namespace of SVG: nothing can be loaded from elsewhere."""
    for path in STATIC.rglob("*"):
        if path.is_file() and path.suffix != ".png":
            assert set(re.findall(r"https?://[\w.]+", path.read_text())) <= {"http://www.w3.org"}, path.name


def test_no_word_is_missing() -> None:
    """Every name that the scripts ask for is there, and every one that is there is asked for."""
    known = set(words("en"))
    scripts = "\n".join(path.read_text() for path in SCRIPTS)
    asked = set(re.findall(r'\bt\("([\w.]+)"', scripts))
    assert asked <= known
    chosen = known & set(re.findall(r'"([\w.]+)"', scripts))
    beginnings = tuple(set(re.findall(r"\bt\(`([\w.]+)\$\{", scripts)))
    assert {name for name in known - asked - chosen if not name.startswith(beginnings)} == set()


def test_words_of_the_first_load_are_in_its_file() -> None:
    """The others are in another one, which every script that is loaded on demand waits for."""
    files = page_bundle("api/v1").files
    for language in LANGUAGES:
        first, more = (json.loads(files[f"words/{part}{language}.json"].plain) for part in ("", "more/"))
        assert first | more == words(language)
        assert not first.keys() & more.keys()
    sources = {path.relative_to(STATIC).as_posix(): path.read_bytes() for path in SCRIPTS}
    begun = "\n".join(sources[name].decode() for name in first_scripts(sources))
    assert set(re.findall(r'\bt\("([\w.]+)"', begun)) <= first.keys()
    for name in on_demand():
        assert b"/more.js" in sources[name], name


def test_every_permission_of_a_key_has_a_word() -> None:
    """The table of keys shows those of an administrator too."""
    assert {f"keys.may.{scope}" for scope in ADMIN_SCOPES} <= set(words("en"))


def test_every_act_has_words() -> None:
    """The activity of an account says what was done, never the code of it."""
    assert {f"activity.act.{act}" for act in get_args(Act)} == {
        name for name in words("en") if name.startswith("activity.act.")
    }


def test_the_languages_that_can_be_chosen_are_there() -> None:
    """The list of the script is that of the files."""
    listed = re.search(r"LANGUAGES = \{(.*?)\};", (STATIC / "lib" / "words.js").read_text())
    assert listed is not None
    assert sorted(re.findall(r"(\w+): ", listed[1])) == LANGUAGES


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_every_word(language: str) -> None:
    """With the same places to fill in, the plurals of the language, and no word left in English by its letters."""
    english, own = words("en"), words(language)
    assert sorted(own) == list(own)
    assert set(own) == set(english)
    for name, word in own.items():
        places = {place for text in texts(english[name]) for place in re.findall(r"\{\w+\}", text)}
        assert {place for text in texts(word) for place in re.findall(r"\{\w+\}", text)} == places, name
        if isinstance(english[name], dict):
            assert isinstance(word, dict), name
            assert set(word) == PLURALS[language], name
        else:
            assert isinstance(word, str), name
            assert word.strip(), name

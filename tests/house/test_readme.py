"""Check that README and docs are true: samples run, tables are whole, links and paths lead somewhere."""

import json
import os
import re
import shutil
import subprocess
import sys
import types
import typing
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import httpx
import msgspec
import pytest
from support.server import ROOT, ServerProcess, http_client

from jan.cli.commands import main
from jan.errors import ConfigurationError, JanError, wire_of
from jan.settings import Settings

PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "SECURITY.md",
        *sorted(ROOT.glob("docs/*.md")),
    )
}
README = PAGES["README.md"]
#: The fenced blocks of all pages: page, language, text.
BLOCKS = [
    (page, language, text)
    for page, content in PAGES.items()
    for language, text in re.findall(r"^```(\w+)\n(.*?)^```$", content, re.DOTALL | re.MULTILINE)
]
BASE = "http://localhost:8080"
LONGEST_README = 240


def _administrator_key(server: ServerProcess) -> str:
    found = re.search(r"Key +(\S+)", server.banner)
    assert found is not None
    return found[1]


def _for(server: ServerProcess, block: str) -> str:
    """A sample with the server's address and key in place of the printed ones."""
    return block.replace(BASE, server.url).replace("jan_...", _administrator_key(server))


def _blocks(language: str, having: str) -> list[str]:
    found = [text for _, kind, text in BLOCKS if kind == language and having in text]
    assert found
    return found


def _rows(page: str, heading: str) -> dict[str, list[str]]:
    """Return the rows of a page's first table after some words, by their first cell."""
    after = PAGES[page][PAGES[page].index(heading) :]
    table = re.search(r"((?:^\|.*\n)+)", after, re.MULTILINE)
    assert table is not None
    cells = [[cell.strip() for cell in line.strip().strip("|").split(" | ")] for line in table[1].splitlines()[2:]]
    return {row[0].strip("` "): row[1:] for row in cells}


def _run(command: list[str], folder: Path, **environ: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


# --- samples -----------------------------------------------------------------------------------------------


@pytest.mark.model
@pytest.mark.parametrize("block", _blocks("bash", "curl "))
def test_curl_samples_run(model_server: ServerProcess, tmp_path: Path, block: str) -> None:
    """Each curl sample is answered: a completion, events up to [DONE], or the same object twice."""
    assert shutil.which("curl"), "curl is not on PATH"
    script = _for(model_server, block).replace("curl ", "curl --fail-with-body --silent ")
    ran = _run(["bash", "-euc", script], tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    if '"stream": true' in block:
        assert ran.stdout.startswith("id: ")
        assert ran.stdout.rstrip().endswith("data: [DONE]")
    elif "Idempotency-Key" in block:
        first, second = ran.stdout.splitlines()
        assert json.loads(first)["title"]
        assert first == second
    else:
        assert json.loads(ran.stdout)["choices"][0]["message"]["content"]


@pytest.mark.model
@pytest.mark.sdk
@pytest.mark.parametrize("block", _blocks("python", "from openai import"))
def test_the_python_sample_runs(model_server: ServerProcess, tmp_path: Path, block: str) -> None:
    """The sample runs with OpenAI's Python SDK and prints an answer and the tool that was called."""
    (tmp_path / "sample.py").write_text(_for(model_server, block))
    ran = _run([sys.executable, "sample.py"], tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "name='look_up'" in ran.stdout.splitlines()[-1]


@pytest.mark.model
@pytest.mark.sdk
@pytest.mark.parametrize("block", _blocks("javascript", 'from "openai"'))
def test_the_javascript_sample_runs(
    model_server: ServerProcess, openai_npm: Path, tmp_path: Path, block: str
) -> None:
    """The sample runs with OpenAI's npm package and prints an answer."""
    (tmp_path / "node_modules").symlink_to(openai_npm / "node_modules")
    (tmp_path / "sample.mjs").write_text(_for(model_server, block))
    ran = _run(["node", "sample.mjs"], tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip()


@pytest.fixture
def plugin_server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server with the plugin of docs/plugins.md, its two blocks written to files as they are printed."""
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    (tmp_path / "greetings.py").write_text(_blocks("python", "from jan.handler import")[0])
    (tmp_path / "my.yaml").write_text(_blocks("yaml", "routes:")[0])
    server = ServerProcess(tmp_path / "my.yaml", environ={"JAN__MODELS": "[{id: echo, engine: echo}]"})
    yield server
    assert server.stop() == 0


def test_the_plugin_works_as_printed(plugin_server: ServerProcess) -> None:
    """The class and the entry are served, and documented."""
    with http_client(plugin_server) as client:
        assert client.get("/api/v1/greet/Ada").json() == {"text": "Ahoy, Ada!"}
        assert "/api/v1/greet/{name}" in client.get("/api/openapi.json").json()["paths"]


@pytest.mark.parametrize("sample", _blocks("yaml", "/path/to/model.gguf"))
def test_the_configuration_of_a_model_of_ones_own_is_right(tmp_path: Path, sample: str) -> None:
    """`jan check` accepts the sample once the file is there, and names the file while it is not."""
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    (tmp_path / "my.yaml").write_text(sample)
    ran = _run([sys.executable, "-m", "jan", "check", "my.yaml"], tmp_path)
    assert ran.returncode == 1
    assert "/path/to/model.gguf" in ran.stderr
    (tmp_path / "model.gguf").touch()
    (tmp_path / "my.yaml").write_text(sample.replace("/path/to/", f"{tmp_path}/"))
    ran = _run([sys.executable, "-m", "jan", "check", "my.yaml"], tmp_path)
    assert ran.returncode == 0, ran.stderr


def test_the_error_sample_is_the_servers(echo: httpx.Client) -> None:
    """The printed envelope is that of an unknown model, but for the names that this server has."""
    (sample,) = _blocks("json", '"error"')
    body = {"model": "gpt-9", "messages": [{"role": "user", "content": "Hello!"}]}
    real = echo.post("/api/v1/chat/completions", json=body).json()["error"]
    printed = json.loads(sample)["error"]
    beginning = printed.pop("message").removesuffix("...")
    assert real.pop("message").startswith(beginning)
    assert real == printed


def test_the_commands_to_begin_with_are_there() -> None:
    """tools/serve and tools/test can be run, and the README's first two blocks are they."""
    assert [text.strip() for page, _, text in BLOCKS if page == "README.md"][:2] == ["tools/serve", "tools/test"]
    assert all(os.access(ROOT / name, os.X_OK) for name in ("tools/serve", "tools/test"))


def _prose(page: str) -> str:
    """Return a page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", PAGES[page], flags=re.DOTALL | re.MULTILINE)


def _anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and the site's builder make them."""
    headings = re.findall(r"^#+ +(.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_the_readme_fits_on_a_few_screens() -> None:
    """The README stays short: everything else has a page."""
    assert len(README.splitlines()) <= LONGEST_README


@pytest.mark.parametrize("page", PAGES)
def test_links_and_paths_lead_somewhere(page: str) -> None:
    """Each relative link's file and anchor exist, and so does each path in backquotes. Pages of the site link
    only to each other."""
    folder = (ROOT / page).parent
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", _prose(page)):
        path, _, anchor = link.partition("#")
        target = (folder / path).resolve() if path else ROOT / page
        assert target.is_file(), f"{page} links to {link}"
        assert folder == ROOT or target.parent == folder, f"{page} links out of the site, to {link}"
        assert not anchor or anchor in _anchors(target.read_text()), f"{page} links to {link}"
    paths = re.findall(r"`((?:jan|conf|handlers|tools|tests|docs)/[\w./-]+)[ `]", PAGES[page])
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_page_can_be_found() -> None:
    """README and the site's home each link to every page of the documents."""
    pages = {path.name for path in ROOT.glob("docs/*.md")} - {"index.md"}
    assert pages <= set(re.findall(r"\(docs/([\w-]+\.md)", README))
    assert pages == set(re.findall(r"\(([\w-]+\.md)\)", PAGES["docs/index.md"]))


# --- tables ------------------------------------------------------------------------------------------------


def _default(field: msgspec.structs.FieldInfo) -> str:
    """A field's default as the tables write it."""
    if field.default_factory is not msgspec.NODEFAULT:
        return f"`{msgspec.json.encode(field.default_factory()).decode()}`"
    if field.default is msgspec.NODEFAULT:
        return "required"
    return f"`{json.dumps(msgspec.to_builtins(field.default))}`"


def _struct_in(kind: Any) -> tuple[type[msgspec.Struct] | None, str]:
    """The settings type of a field, and how its path goes on: a section, or the items of a list."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind, ""
    items = [item for item in typing.get_args(kind) if isinstance(item, type) and issubclass(item, msgspec.Struct)]
    return (items[0], "[]") if items and not isinstance(kind, types.UnionType) else (None, "")


def _settings(kind: type[msgspec.Struct], path: str = "") -> dict[str, str]:
    """Every setting's path and default."""
    found: dict[str, str] = {}
    for field in msgspec.structs.fields(kind):
        inner, suffix = _struct_in(field.type)
        if inner is not None:
            found |= _settings(inner, f"{path}{field.encode_name}{suffix}.")
        else:
            found[path + field.encode_name] = _default(field)
    return found


def _options(engine: str) -> type[msgspec.Struct]:
    kinds = import_module("jan.engine.registry")._KINDS
    module, _, options, _ = kinds[engine]
    pytest.importorskip(module, reason=f"the {engine} engine's library is not installed", exc_type=ImportError)
    found: type[msgspec.Struct] = getattr(import_module(module), options)
    return found


def test_every_setting_is_in_the_table() -> None:
    """The table has exactly the settings that there are, each with its default and a meaning."""
    rows = _rows("docs/configuration.md", "## Settings")
    assert {name: row[0] for name, row in rows.items()} == _settings(Settings)
    assert all(row[1] for row in rows.values())


@pytest.mark.parametrize("engine", import_module("jan.engine.registry")._KINDS)
def test_every_option_of_every_engine_is_in_a_table(engine: str) -> None:
    """Each engine has a table with exactly its options, each with its default and a meaning."""
    rows = _rows("docs/configuration.md", f"### Options of the `{engine}` engine")
    assert {name: row[0] for name, row in rows.items()} == _settings(_options(engine))
    assert all(row[1] for row in rows.values())


def test_every_command_is_in_the_table() -> None:
    """The table has exactly the commands of `jan --help`, and each option that a row names exists."""
    rows = _rows("docs/commands.md", "# Commands")
    context = click.Context(main)
    assert {name.split()[1] for name in rows} == set(main.list_commands(context))
    for name, (text,) in rows.items():
        command = main.get_command(context, name.split()[1])
        assert command is not None
        options = {text for parameter in command.params for text in parameter.opts}
        assert set(re.findall(r"`(--[\w-]+)", text)) <= options


def _error_types(base: type[JanError] = JanError) -> Iterator[type[JanError]]:
    for kind in base.__subclasses__():
        if not issubclass(kind, ConfigurationError):  # never on the wire
            yield kind
            yield from _error_types(kind)


def test_every_error_is_in_the_table() -> None:
    """Each error's status and type is a row, with its default code; each other code of the source is in one."""
    rows = _rows("docs/errors.md", "## Every code")
    for kind in _error_types():
        status, name = wire_of(kind)
        assert rows[str(status)][0] == f"`{name}`"
        assert f"`{kind.default_code}`" in rows[str(status)][1]
    sources = [*ROOT.glob("jan/**/*.py"), *ROOT.glob("handlers/**/*.py")]
    codes = {code for path in sources for code in re.findall(r'\bcode="(\w+)"', path.read_text())}
    listed = [code for row in rows.values() for code in re.findall(r"`(\w+)`", row[1])]
    assert codes <= set(listed)
    assert sorted(listed) == sorted(set(listed)), "a code is in two rows"

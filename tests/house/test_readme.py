"""What the README says is true: its samples run, and its tables have every setting, command and error."""

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

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
BASE = "http://localhost:8080"


def _administrator_key(server: ServerProcess) -> str:
    found = re.search(r"Key +(\S+)", server.banner)
    assert found is not None
    return found[1]


def _for(server: ServerProcess, block: str) -> str:
    """A sample with the server's address and key in place of the printed ones."""
    return block.replace(BASE, server.url).replace("jan_...", _administrator_key(server))


def _blocks(language: str, having: str) -> list[str]:
    found = [text for kind, text in BLOCKS if kind == language and having in text]
    assert found
    return found


def _rows(heading: str) -> dict[str, list[str]]:
    """The rows of the first table after some words, by their first cell."""
    after = README[README.index(heading) :]
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
    """A server with the README's plugin, its two blocks written to files as they are printed."""
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


def test_the_configuration_of_a_model_of_ones_own_is_right(tmp_path: Path) -> None:
    """`jan check` accepts the sample once the file is there, and names the file while it is not."""
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    sample = _blocks("yaml", "/path/to/model.gguf")[0]
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
    assert [text.strip() for _, text in BLOCKS[:2]] == ["tools/serve", "tools/test"]
    assert all(os.access(ROOT / name, os.X_OK) for name in ("tools/serve", "tools/test"))


def test_the_files_that_it_points_to_exist() -> None:
    """Relative links and paths in backquotes lead somewhere."""
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    paths = re.findall(r"`((?:jan|conf|handlers|tools)/[\w./-]+)[ `]", README)
    assert links
    assert [path for path in (*links, *paths) if not (ROOT / path).exists()] == []


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
    rows = _rows("## Configuration")
    assert {name: row[0] for name, row in rows.items()} == _settings(Settings)
    assert all(row[1] for row in rows.values())


@pytest.mark.parametrize("engine", import_module("jan.engine.registry")._KINDS)
def test_every_option_of_every_engine_is_in_a_table(engine: str) -> None:
    """Each engine has a table with exactly its options, each with its default and a meaning."""
    rows = _rows(f"Options of the `{engine}` engine")
    assert {name: row[0] for name, row in rows.items()} == _settings(_options(engine))
    assert all(row[1] for row in rows.values())


def test_every_command_is_in_the_table() -> None:
    """The table has exactly the commands of `jan --help`, and each option that a row names exists."""
    rows = _rows("## Commands")
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
    rows = _rows("Every error, also for")
    for kind in _error_types():
        status, name = wire_of(kind)
        assert rows[str(status)][0] == f"`{name}`"
        assert f"`{kind.default_code}`" in rows[str(status)][1]
    sources = [*ROOT.glob("jan/**/*.py"), *ROOT.glob("handlers/**/*.py")]
    codes = {code for path in sources for code in re.findall(r'\bcode="(\w+)"', path.read_text())}
    listed = {code for row in rows.values() for code in re.findall(r"`(\w+)`", row[1])}
    assert codes <= listed

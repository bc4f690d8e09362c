"""Check that the tables of docs have every setting, option, command and error, and no other."""

import json
import re
import types
import typing
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import click
import msgspec
import pytest
from support.documents import rows as rows_of
from support.parameter_table import PAGE, page, served_rows
from support.server import ROOT

from jan.cli.commands import main
from jan.errors import ConfigurationError, JanError, wire_of
from jan.schema.chat import ChatCompletionRequest
from jan.schema.completions import CompletionRequest
from jan.settings import Settings


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
    kinds = import_module("jan.engine.engine_kinds")._KINDS
    package, front, _, _ = kinds[engine]
    module, name = f"{package}.{front}".rsplit(".", 1)
    pytest.importorskip(module, reason=f"the {engine} engine's library is not installed", exc_type=ImportError)
    found: type[msgspec.Struct] = getattr(import_module(module), name).Options
    return found


def test_every_setting_is_in_the_table() -> None:
    """The table has exactly the settings that there are, each with its default and a meaning."""
    rows = rows_of("docs/configuration.md", "## Settings")
    assert {name: row[0] for name, row in rows.items()} == _settings(Settings)
    assert all(row[1] for row in rows.values())


@pytest.mark.parametrize(
    "engine",
    [
        pytest.param(name, marks=pytest.mark.torch) if name.startswith("exllama") else name
        for name in import_module("jan.engine.engine_kinds")._KINDS
    ],
)
def test_every_option_of_every_engine_is_in_a_table(engine: str) -> None:
    """Each engine has a table with exactly its options, each with its default and a meaning."""
    rows = rows_of("docs/configuration.md", f"### Options of the `{engine}` engine")
    assert {name: row[0] for name, row in rows.items()} == _settings(_options(engine))
    assert all(row[1] for row in rows.values())


def test_every_command_is_in_the_table() -> None:
    """The table has exactly the commands of `jan --help`, and each option that a row names exists."""
    rows = rows_of("docs/commands.md", "# Commands")
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
    rows = rows_of("docs/errors.md", "## Every code")
    for kind in _error_types():
        status, name = wire_of(kind)
        assert rows[str(status)][0] == f"`{name}`"
        assert f"`{kind.default_code}`" in rows[str(status)][1]
    sources = [*ROOT.glob("jan/**/*.py"), *ROOT.glob("handlers/**/*.py")]
    codes = {code for path in sources for code in re.findall(r'\bcode="(\w+)"', path.read_text())}
    listed = [code for row in rows.values() for code in re.findall(r"`(\w+)`", row[1])]
    assert codes <= set(listed)
    assert sorted(listed) == sorted(set(listed)), "a code is in two rows"


def test_the_tables_of_parameters_are_those_of_the_schema() -> None:
    """Run tests/support/parameter_table.py to write them anew. Every parameter says what it does."""
    assert page(PAGE.read_text()) == PAGE.read_text()
    assert [row[0] for row in served_rows() if not row[4]] == []


def _peers() -> dict[str, list[str]]:
    """The names that other servers know, by server and endpoint."""
    text = (ROOT / "tests" / "support" / "peer_parameters.txt").read_text()
    return {head: names.split() for head, names in re.findall(r"^\[(.+)\]\n([^[]+)", text, re.MULTILINE)}


@pytest.mark.parametrize("peer", sorted(_peers()))
def test_every_parameter_of_other_servers_is_served_or_refused(peer: str) -> None:
    """None of them is a name that nobody knows."""
    body = ChatCompletionRequest if peer.endswith("chat") else CompletionRequest
    known = {field.encode_name for field in msgspec.structs.fields(body)} | set(body.unserved)
    assert [
        name for name in _peers()[peer] if body.aliases.get(name, name) not in known and name not in known
    ] == []

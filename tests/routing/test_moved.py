"""Names from before the rooms: each works, in YAML and in Python, with one warning."""

import subprocess
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.server import DEFAULT_CONFIG, ROOT, ServerProcess

from jan.routing.moved import MODULES, NAMES, MovedName, new_name
from jan.routing.table import resolve_routes
from jan.settings.load import load_settings
from jan.settings.names import DottedName
from jan.settings.plugins import import_class

# Packages that have the name of a module from before: its names are found in them.
KEPT = ("handlers.conversations", "jan.cli", "jan.generation", "jan.idempotency")
# As plugins had it; one warning a line.
PLUGIN = """
from jan.auth.scopes import PUBLIC
from jan.cli import main
from jan.config import load_settings
from jan.engine.answer import Answer
from jan.engine.exllama.options import ExLlamaOptions
from jan.engine.models import Models
from jan.mint import Mint
from handlers.chat import ChatCompletions
from handlers.conversations import Conversations
from handlers.models import OneModel
from handlers.users import Users
"""


def use(old: str) -> tuple[Any, list[str]]:
    """Return what a name leads to, and the warnings of using it twice."""
    module, _, name = old.rpartition(".")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(2):
            found = import_module(old) if old in MODULES else getattr(import_module(module), name)
    assert {warning.category for warning in caught} <= {MovedName}
    return found, [str(warning.message) for warning in caught]


def _case(old: str) -> Any:
    return pytest.param(old, marks=pytest.mark.torch) if "exllama" in old else old


@pytest.mark.parametrize("old", [_case(name) for name in MODULES if name not in KEPT])
def test_every_module_is_found_by_its_old_name(old: str) -> None:
    """It has all that the new one has, and is warned of once."""
    new = pytest.importorskip(MODULES[old], exc_type=ImportError)
    sys.modules.pop(old, None)
    found, told = use(old)
    assert told == [f"{old} is now {MODULES[old]}. The old name works for one more release."]
    public = {name: value for name, value in vars(new).items() if not name.startswith("__")}
    assert {name: vars(found)[name] for name in public} == public


@pytest.mark.parametrize("package", KEPT)
def test_a_package_has_what_was_in_the_module_of_its_name(package: str) -> None:
    """Each public class and function of it, with a warning each."""
    new = import_module(MODULES[package])
    names = [name for name, value in vars(new).items() if getattr(value, "__module__", "") == new.__name__]
    for name in names:
        if not name.startswith("_"):
            found, told = use(f"{package}.{name}")
            assert found is getattr(new, name)
            assert len(told) == 1


@pytest.mark.parametrize("old", NAMES)
def test_every_class_is_found_by_its_old_name(old: str) -> None:
    """Where its module moved too, the warning is the module's."""
    module = old.rpartition(".")[0]
    if module not in KEPT:
        sys.modules.pop(module if module in MODULES else "", None)
    found, told = use(old)
    assert len(told) == 1
    new_module, _, new = NAMES[old].rpartition(".")
    assert found is getattr(import_module(new_module), new)
    assert new_name(old) == NAMES[old]


def test_a_name_that_is_nowhere_is_still_an_error() -> None:
    """Misspelt names are not found because of the table."""
    for module in ("jan.nowhere", "handlers.nowhere", "jan.mint.nowhere"):
        with pytest.raises(ModuleNotFoundError):
            import_module(module)
    with pytest.raises(AttributeError, match=r"module 'jan\.cli' has no attribute 'nowhere'"):
        import_module("jan.cli").nowhere  # noqa: B018
    assert new_name("handlers.service.health.HealthCheck") is None


def test_old_names_in_yaml_are_warned_of_at_their_line(tmp_path: Path) -> None:
    """The server starts, and says once for each name what to write instead."""
    config = tmp_path / "jan.yaml"
    config.write_text(
        f"extends: {DEFAULT_CONFIG}\nroutes:\n"
        '  - {path: "{api}/chat/completions", handler: handlers.chat.ChatCompletions, name: chat}\n'
        '  - {path: "{api}/conversations", handler: handlers.conversations.Conversations, name: all}\n'
    )
    settings = load_settings(config, {})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(2):
            resolve_routes(settings.routes, settings.server.api_prefixes)
    assert [(str(w.message).partition(".")[0], w.filename, w.lineno) for w in caught] == [
        ("handlers", str(config), 3),
        ("handlers", str(config), 4),
    ]
    assert "is now handlers.openai.chat.endpoint.ChatCompletions." in str(caught[0].message)


def test_the_server_s_log_has_the_warning(start_server: Callable[[str], ServerProcess]) -> None:
    """As one line in the log's own form."""
    server = start_server("models: []\nroutes: [{path: /old, handler: handlers.health.HealthCheck, name: old}]")
    assert httpx.get(f"{server.url}/old").status_code == 200
    (told,) = [line for line in server.log if line["level"] == "warning"]
    assert "MovedName: handlers.health.HealthCheck is now handlers.service.health.HealthCheck." in told["event"]


def test_an_old_import_beside_a_configuration_is_warned_of_at_its_line(tmp_path: Path) -> None:
    """As well as in any other module."""
    plugin = tmp_path / "old_plugin.py"
    plugin.write_text("\nfrom jan.auth.scopes import PUBLIC\n")
    sys.modules.pop("jan.auth.scopes", None)
    with pytest.warns(MovedName, match="jan.auth.scopes is now") as caught:
        import_class(DottedName.written_in(tmp_path / "jan.yaml", "old_plugin.PUBLIC"))
    assert [(warning.filename, warning.lineno) for warning in caught] == [(str(plugin), 2)]


def test_a_plugin_s_old_imports_are_warned_of_at_their_line(tmp_path: Path) -> None:
    """In a process of its own, since modules are imported once: a line each, and nothing is said of new names."""
    plugin = tmp_path / "plugin.py"
    plugin.write_text(PLUGIN)
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning", plugin],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stderr.splitlines() if "MovedName" in line]
    numbers = [int(line.removeprefix(f"{plugin}:").partition(":")[0]) for line in told]
    assert numbers == list(range(2, 2 + PLUGIN.strip().count("\n") + 1))

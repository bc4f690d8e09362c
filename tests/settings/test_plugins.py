"""Dotted names in a configuration file: a module beside that file, else an installed one; ours stay ours."""

import subprocess
import sys
from pathlib import Path

import pytest
from support.server import DEFAULT_CONFIG, ROOT

from jan.errors import ConfigurationError
from jan.handler import Handler
from jan.routing.table import Route, resolve_routes
from jan.settings.load import default_config_file, load_settings
from jan.settings.names import DottedName
from jan.settings.plugins import CannotImport, import_class

HANDLER = """
import msgspec
from jan.handler import Handler
from jan.operation import operation
from jan.schema.scopes import PUBLIC
{imports}

class Told(msgspec.Struct):
    text: str

class Greet(Handler):
    @operation(summary="Greet", access=PUBLIC, response=Told)
    async def get(self) -> Told:
        return Told({text})
"""


def write(folder: Path, **files: str) -> Path:
    """Write modules, their names with __ for a slash, and a configuration that names the class Greet of one."""
    for name, text in files.items():
        file = folder / f"{name.replace('__', '/')}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder / "my.yaml"


def handler(text: str = "'hello'", imports: str = "") -> str:
    return HANDLER.format(text=text, imports=imports)


def load(config: Path, dotted: str) -> type[Handler]:
    found = import_class(DottedName.written_in(config, dotted))
    assert issubclass(found, Handler)
    return found


def routes_of(config: Path, *dotted: str) -> list[Route]:
    lines = "".join(f"  - {{path: /x{n}, handler: {name}, name: x{n}}}\n" for n, name in enumerate(dotted))
    config.write_text(f"extends: {DEFAULT_CONFIG}\nroutes:\n{lines}")
    settings = load_settings(config, {})
    return resolve_routes(settings.routes, settings.server.api_prefixes)


def test_a_module_of_ones_own_named_like_ours(tmp_path: Path) -> None:
    """A file handlers.py beside the configuration is meant by its name there. The names of the default file, and
    those of modules that it lacks, still mean ours."""
    config = write(tmp_path, handlers=handler("'mine'"))
    routes = {
        route.path: route.handler for route in routes_of(config, "handlers.Greet", "handlers.openai.models.Models")
    }
    assert sys.modules[routes["/x0"].__module__].__file__ == str(tmp_path / "handlers.py")
    for path in ("/health", "/x1"):
        assert sys.modules[routes[path].__module__].__file__.startswith(str(ROOT / "handlers"))


def test_a_package_of_ones_own_named_like_ours(tmp_path: Path) -> None:
    """A package handlers/ is meant as well. Its modules find each other, absolutely and relatively; what it does
    not have is looked up elsewhere."""
    imports = (
        "from handlers import words\nfrom handlers.words import HELLO\nfrom . import words as relative\n"
        "import handlers.words\nimport handlers.words as alias\nimport json\nimport helper\n"
        "from handlers.openai.models import OneModel\n"
        "assert words is relative is alias is handlers.words and helper.HELLO is HELLO\n"
    )
    config = write(
        tmp_path,
        handlers____init__="",
        handlers__words="HELLO = ['hello']",
        handlers__greet=handler(imports=imports),
        helper="def later():\n    from handlers import words\n    return words\nfrom handlers.words import HELLO",
    )
    found = sys.modules[load(config, "handlers.greet.Greet").__module__]
    assert found.helper.later() is found.words
    assert found.OneModel is routes_by_name(default_config_file())["models.one"]


def routes_by_name(config: Path) -> dict[str, type[Handler]]:
    settings = load_settings(config, {})
    return {route.name: route.handler for route in resolve_routes(settings.routes, settings.server.api_prefixes)}


def test_two_folders_may_have_modules_of_one_name(tmp_path: Path) -> None:
    """Each configuration means its own, and a module is run once however often it is named."""
    configs = [write(tmp_path / name, greetings=handler()) for name in ("one", "other")]
    one, other = (load(config, "greetings.Greet") for config in configs)
    assert one is not other
    assert load(configs[0], "greetings.Greet") is one


def test_python_s_own_modules_are_not_replaced(tmp_path: Path) -> None:
    """A file with the name of a module of Python, or of ours, is not taken for it."""
    config = write(tmp_path, json="raise SystemExit", jan="raise SystemExit", mine=handler(imports="import json"))
    load(config, "mine.Greet")


def test_a_name_that_is_not_beside_is_an_installed_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So a plugin may be a distribution, wherever the configuration is. A name of the environment is one."""
    write(tmp_path / "site", installed_greetings=handler())
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert load(tmp_path / "my.yaml", "installed_greetings.Greet").__module__ == "installed_greetings"
    assert import_class(DottedName("installed_greetings.Greet")).__module__ == "installed_greetings"


def test_another_handlers_in_sys_modules_stays(tmp_path: Path) -> None:
    """A process that imported its own handlers.py, such as a test of a plugin, keeps it beside ours."""
    write(tmp_path, handlers="MINE = True")
    program = (
        "import handlers, sys\nfrom jan.testing import served\n"
        "for _ in range(2):\n"
        "    with served() as server:\n"
        "        assert server.client.get('/health').status_code == 200\n"
        "assert sys.modules['handlers'] is handlers and handlers.MINE\n"
        "print(sum(name.startswith('jan_shipped:handlers.openai.models') for name in sys.modules))"
    )
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("1\n", 0), done.stderr


WRONG = {
    "Greet": "Can't import 'Greet': It has no dot; allowed: module.Class, of a module beside {config} or of an "
    "installed package.",
    "nowhere.Greet": "Can't import 'nowhere.Greet': No module named 'nowhere'; allowed: module.Class, of a module "
    "beside {config} or of an installed package.",
    "mine.Greeet": "Can't import 'mine.Greeet': 'mine' has no 'Greeet'; allowed: Told, Greet.",
    "lacks.Greet": "Can't import 'lacks.Greet': No module named 'not_installed_anywhere'; allowed: ",
    "broken.Greet": "Can't import 'broken.Greet': NameError: name 'x' is not defined (broken.py, line 2); ",
    "unread.Greet": "Can't import 'unread.Greet': SyntaxError: invalid syntax (unread.py, line 1); allowed: ",
    "handlers.none.Two": "Can't import 'handlers.none.Two': No module named 'handlers.none'; allowed: ",
}


@pytest.mark.parametrize("dotted", WRONG)
def test_a_mistake_is_one_line(tmp_path: Path, dotted: str) -> None:
    """It says which name, why, and what is allowed."""
    config = write(
        tmp_path,
        mine=handler(),
        lacks="import not_installed_anywhere",
        broken="\nx\n",
        unread="class :\n",
    )
    with pytest.raises(CannotImport) as refused:
        import_class(DottedName.written_in(config, dotted))
    assert refused.value.message.startswith(WRONG[dotted].format(config=config))
    assert "\n" not in refused.value.message
    with pytest.raises(ConfigurationError, match=r"^routes\[\d+\] \(/x0\): handler: Can't import"):
        routes_of(config, dotted)

"""An endpoint of somebody else's: one class, one YAML entry; a wrong one stops the server in one line."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result
from support.command import run_jan
from support.server import DEFAULT_CONFIG, check_invariants

from jan.application import Server
from jan.cli.commands import main
from jan.errors import ConfigurationError
from jan.settings.load import load_settings
from jan.testing import ThreadServer, served

MODULE = '''
"""Greets."""

import msgspec

from jan.schema.scopes import PUBLIC, READ
from jan.errors import NotFound
from jan.handler import Handler
from jan.operation import Example, operation


class Options(msgspec.Struct, forbid_unknown_fields=True):
    """How to greet."""

    greeting: str = "Hello"


class Letter(msgspec.Struct):
    """A letter."""

    to: str
    lines: list[str]


class Greeting(msgspec.Struct):
    """What is said."""

    text: str


class Greet(Handler):
    """Greetings."""

    Options = Options

    @operation(
        summary="Greet somebody",
        access=PUBLIC,
        tag="greetings",
        response=Greeting,
        errors=(NotFound,),
        examples=(Example(summary="The world", path={"name": "world"}),),
    )
    async def get(self, name: str) -> Greeting:
        """Says hello."""
        if name == "nobody":
            raise NotFound("there is nobody here", code="nobody")
        return Greeting(text=f"{self.route_options.greeting}, {name}!")

    @operation(summary="Write to somebody", access=PUBLIC, tag="greetings", request=Letter, response=Greeting)
    async def post(self, name: str, body: Letter) -> Greeting:
        """Reads the letter out."""
        return Greeting(text=f"{name} to {body.to}: {' / '.join(body.lines)}")


class Shout(Greet):
    """Greetings in capitals."""

    @operation(summary="Greet loudly", access=PUBLIC, tag="greetings", response=Greeting)
    async def get(self, name: str) -> Greeting:
        """Says hello as the parent does, but louder."""
        said = await super().get(name)
        return Greeting(text=said.text.upper())

    @operation(summary="Write loudly", access=READ, tag="greetings", request=Letter, response=Greeting)
    async def post(self, name: str, body: Letter) -> Greeting:
        """Reads the letter out after a greeting of its own."""
        said, greeted = await super().post(name, body), await self.get(body.to)
        return Greeting(text=f"{greeted.text} {said.text}")


class Undeclared(Handler):
    """A method that says nothing of who may call it."""

    async def get(self) -> None:
        """Answers."""
        self.finish("hi")


class Unawaited(Greet):
    """A check that would never run."""

    async def prepare(self) -> None:
        """Refuses everybody."""
        raise NotFound("Nothing is here.")


class Mislimited(Handler):
    """A limit class that there is not."""

    @operation(summary="Greet", access=PUBLIC, response=Greeting, limit="unlimited")
    async def get(self) -> Greeting:
        """Says hello."""
        return Greeting(text="hello")


class NoAnswer(Handler):
    """A method that creates and has no answer that could be given again."""

    @operation(summary="Make", access=PUBLIC, creates=True)
    async def post(self) -> None:
        """Answers by itself."""
        self.finish("hi")


class NoHandler:
    """Not an endpoint."""
'''

GOOD_ROUTE = "{path: '{api}/greet/{name}', handler: greetings.Greet, name: greet, options: {greeting: Ahoy}}"
LOUD_ROUTE = "{path: '/shout/{name}', handler: greetings.Shout, name: shout}"


def _configure(folder: Path, *routes: str, more: str = "") -> Path:
    """A plugin's module and a configuration with these routes, in a folder of their own."""
    folder.mkdir(exist_ok=True)
    (folder / "greetings.py").write_text(MODULE)
    config = folder / "my.yaml"
    config.write_text(
        f"extends: {DEFAULT_CONFIG}\nlog: {{format: json}}\nmodels: [{{id: echo, engine: echo}}]\n{more}\n"
        "routes:\n" + "".join(f"  - {route}\n" for route in routes)
    )
    return config


def _jan(*arguments: object) -> Result:
    """Return the output of a command that runs no server."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _configure(tmp_path_factory.mktemp("plugin"), GOOD_ROUTE, LOUD_ROUTE)


@pytest.fixture(scope="module")
def server(config: Path) -> Iterator[ThreadServer]:
    with served(config) as server:
        yield server
    assert server.errors == []


@pytest.fixture(scope="module")
def client(server: ThreadServer) -> httpx.Client:
    return server.connect(event_hooks={"response": [check_invariants]})


def test_it_is_served_with_its_options(client: httpx.Client) -> None:
    """The path's parameter and the route's options reach the method, under each API prefix; its own errors
    and the server's come in the one envelope."""
    assert client.get("/api/v1/greet/Ada").json() == {"text": "Ahoy, Ada!"}
    assert client.get("/v1/greet/Ada").json() == {"text": "Ahoy, Ada!"}
    assert client.get("/v1/greet/nobody").json()["error"]["code"] == "nobody"
    assert client.delete("/v1/greet/Ada").status_code == 405


def test_its_body_is_validated_by_its_type(client: httpx.Client) -> None:
    """A body comes decoded; a wrong one is a 400 that names the field."""
    letter = {"to": "Grace", "lines": ["one", "two"]}
    assert client.post("/v1/greet/Ada", json=letter).json() == {"text": "Ada to Grace: one / two"}
    refused = client.post("/v1/greet/Ada", json={"to": "Grace", "lines": [1]})
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "lines[0]"


def test_a_subclass_calls_the_method_of_its_parent(server: ThreadServer, client: httpx.Client) -> None:
    """It returns the response. Who may call is what the subclass declares."""
    assert client.get("/shout/Ada").json() == {"text": "HELLO, ADA!"}
    assert client.head("/shout/Ada").status_code == 200
    letter = {"to": "Grace", "lines": ["one", "two"]}
    assert client.post("/shout/Ada", json=letter).status_code == 401
    reader = server.connect(server.add_user("read"))
    assert reader.post("/shout/Ada", json=letter).json() == {"text": "HELLO, GRACE! Ada to Grace: one / two"}
    assert reader.get("/shout/nobody").json()["error"]["code"] == "nobody"


def test_the_shipped_endpoints_are_still_there(client: httpx.Client) -> None:
    """Routes of an extending file are added to those that it extends."""
    assert client.get("/health").status_code == 200


def test_it_is_in_the_document(client: httpx.Client) -> None:
    """Swagger shows it with its words, its example and its types."""
    document = client.get("/api/openapi.json").json()
    operation = document["paths"]["/api/v1/greet/{name}"]["get"]
    assert operation["summary"] == "Greet somebody"
    assert operation["parameters"][0]["example"] == "world"
    assert set(document["components"]["schemas"]["Letter"]["properties"]) == {"to", "lines"}


def test_it_is_in_the_audit_table(config: Path) -> None:
    """`jan routes` names URL, method and who may call."""
    ran = _jan("routes", "--config", config)
    rows = [line.split() for line in ran.stdout.splitlines()]
    assert ["/api/v1/greet/{name}", "GET", "public", "default", "greet"] in rows
    assert ["/api/v1/greet/{name}", "POST", "public", "default", "greet"] in rows


def test_it_is_in_the_metrics(client: httpx.Client) -> None:
    """Its requests are counted under the name of its route."""
    client.get("/v1/greet/metrics")
    assert 'jan_http_requests_total{method="GET",route="greet",status="200"}' in client.get("/metrics").text


def test_it_is_in_the_log(server: ThreadServer, client: httpx.Client) -> None:
    """Its requests have a line in the log with the request's id."""
    sent = client.get("/v1/greet/log", headers={"X-Request-Id": "the-log-test"})
    assert sent.headers["x-request-id"] == "the-log-test"
    client.get("/health")
    lines = [line for line in server.log if line.get("request_id") == "the-log-test"]
    assert [(line["route"], line["status"]) for line in lines] == [("greet", 200)]


WRONG = {
    "unknown limit class": (
        "{path: /x, handler: greetings.Mislimited, name: x}",
        "Mislimited.get: Unknown limit class 'unlimited'; allowed: default, inference, none",
    ),
    "no @operation": (
        "{path: /x, handler: greetings.Undeclared, name: x}",
        "Undeclared.get has no @operation",
    ),
    "prepare that is async": (
        "{path: '/x/{name}', handler: greetings.Unawaited, name: x}",
        "Unawaited.prepare must not be async, because nothing awaits it.",
    ),
    "creates without an answer": (
        "{path: /x, handler: greetings.NoAnswer, name: x}",
        "NoAnswer.post 'creates', so its @operation must have 'response'",
    ),
    "unknown option": (
        "{path: '/x/{name}', handler: greetings.Greet, name: x, options: {greting: Hi}}",
        "options.greting: Unknown key 'greting'; allowed: greeting.",
    ),
    "wrong type of option": (
        "{path: '/x/{name}', handler: greetings.Greet, name: x, options: {greeting: [Hi]}}",
        "options.greeting: Expected `str`, got `array`.",
    ),
    "options where none are taken": (
        "{path: /x, handler: handlers.service.health.HealthCheck, name: x, options: {a: 1}}",
        "HealthCheck takes none",
    ),
    "path taken": (
        "{path: '{api}/models/{name:path}', handler: greetings.Greet, name: x}",
        "Two routes have the path /api/v1/models/{name:path}: models.one, x",
    ),
    "missing class": ("{path: /x, handler: greetings.Greeet, name: x}", "Can't import 'greetings.Greeet'"),
    "missing module": ("{path: /x, handler: salutations.Greet, name: x}", "Can't import 'salutations.Greet'"),
    "no dotted name": ("{path: /x, handler: Greet, name: x}", "Can't import 'Greet'"),
    "no handler": ("{path: /x, handler: greetings.NoHandler, name: x}", "must extend jan.handler.Handler"),
    "path parameter missing": (
        "{path: /x, handler: greetings.Greet, name: x}",
        "Greet.get takes the path parameters ['name'], but the path has []",
    ),
    "path parameter of another name": (
        "{path: '/x/{who}', handler: greetings.Greet, name: x}",
        "Greet.get takes the path parameters ['name'], but the path has ['who']",
    ),
    "path without a slash": ("{path: x, handler: greetings.Greet, name: x}", "must begin with '/' or '{api}'"),
    "unknown key": (
        "{path: '/x/{name}', handler: greetings.Greet, name: x, methods: [GET]}",
        "Unknown key 'methods'; allowed: path, handler, name, group, options",
    ),
    "no name": ("{path: '/x/{name}', handler: greetings.Greet}", "The key 'name' is required."),
    "not a mapping": ("greetings.Greet", "Expected `object`, got `str`."),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_entry_stops_the_server(tmp_path: Path, case: str) -> None:
    """No server is made, and `jan check` ends with exit code 1 and one line that names the file, the entry and the
    remedy; there is no traceback."""
    route, words = WRONG[case]
    config = _configure(tmp_path, route)
    ran = _jan("check", config)
    assert ran.exit_code == 1
    assert ran.stdout == ""
    line = ran.stderr.strip()
    assert "\n" not in line
    assert re.match(rf"jan: {config}:\d+: routes", line)
    assert words in line
    with pytest.raises(ConfigurationError) as refused:
        Server(load_settings(config, data=str(tmp_path)), show_late_key=print)
    assert words in refused.value.message


@pytest.mark.parametrize("command", [("serve", "--port", "0", "--config"), ("check",)])
def test_a_wrong_entry_is_one_line_of_a_process(tmp_path: Path, command: tuple[str, ...]) -> None:
    """`jan serve` and `jan check` say the same, from whatever folder they run in, and nothing is served."""
    config = _configure(tmp_path / "mine", WRONG["missing class"][0])
    ran = run_jan(*command, str(config), cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (1, "")
    line = ran.stderr.strip()
    assert "\n" not in line
    assert re.match(rf"jan: {config}:\d+: routes", line)
    assert "'greetings' has no 'Greeet'" in line


def test_a_plugin_that_fails_to_import_says_why(tmp_path: Path) -> None:
    """A module that needs something that is not installed is named together with what is missing."""
    config = _configure(tmp_path, "{path: /x, handler: broken.Greet, name: x}")
    (tmp_path / "broken.py").write_text("import not_installed_anywhere\n")
    ran = _jan("check", config)
    assert ran.exit_code == 1
    assert "not_installed_anywhere" in ran.stderr


def test_an_extending_file_can_replace_an_endpoint(tmp_path: Path) -> None:
    """A route with a path of the extended file replaces it."""
    config = _configure(tmp_path, "{path: '{api}/models/{model_id:path}', handler: mine.Mine, name: mine}")
    source = "from handlers.openai.models import OneModel\n\n\nclass Mine(OneModel): ...\n"
    (tmp_path / "mine.py").write_text(source)
    ran = _jan("openapi", "--config", config)
    operations = json.loads(ran.stdout)["paths"]["/api/v1/models/{model_id}"]
    assert operations["get"]["operationId"] == "mine_get"

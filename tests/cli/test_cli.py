"""The command line: what a person who made a mistake gets to read, and how the server starts and stops."""

import json
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from support.command import run_jan
from support.patience import in_time, until
from support.raw_http import exchange, request
from support.server import DEFAULT_CONFIG, ECHO_CONFIG, MODEL, ServerProcess, http_client

from jan.cli.commands import main
from jan.settings.load import load_settings
from jan.storage.sqlite.migrations import APPLICATION_ID

CHAT = "/api/v1/chat/completions"
EXTENDS = f"extends: {DEFAULT_CONFIG}\n"


def jan(*arguments: str, cwd: Path | None = None, **environ: str) -> "subprocess.CompletedProcess[str]":
    return run_jan(*arguments, cwd=cwd, environ=environ)


def complaint(result: "subprocess.CompletedProcess[str]", code: int = 1) -> str:
    """The one line on standard error of a command that must have failed with this exit code."""
    assert (result.returncode, result.stdout) == (code, ""), result.stderr
    assert result.stderr.startswith("jan: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.fixture
def check_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Runs `jan check` without a process of its own; gives the lines of its complaint."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run(file: str, **environ: str) -> list[str]:
        result = CliRunner().invoke(main, ["check", file], env=environ)
        assert (result.exit_code, result.stdout) == (1, ""), result.output
        lines = result.stderr.splitlines()
        assert all(line.startswith("jan: ") for line in lines), lines
        return lines

    return run


@pytest.fixture
def check(check_all: Callable[..., list[str]]) -> Callable[..., str]:
    """Runs `jan check` without a process of its own; gives the one line of its complaint."""

    def run(file: str, **environ: str) -> str:
        (line,) = check_all(file, **environ)
        return line

    return run


# --- jan check --------------------------------------------------------------------------------------

HEALTH = "handlers.service.health.HealthCheck"

# The configuration, and what the complaint must say.
MISTAKES: dict[str, tuple[str, list[str]]] = {
    "unknown section": (EXTENDS + "banana: 1", ["banana: Unknown key", "allowed: data, server, access"]),
    "Unknown key": (EXTENDS + "server: {prot: 1}", ["server.prot: Unknown key 'prot'", "port"]),
    "wrong type": (EXTENDS + "server: {port: abc}", ["server.port: Expected `int`, got `str`"]),
    "out of range": (EXTENDS + "server: {port: 70000}", ["server.port: Expected `int` <= 65535"]),
    "section of wrong type": (EXTENDS + "server: [1]", ["server: Expected `object`"]),
    "no rate": (
        EXTENDS + "limits: {anonymous: 100}",
        ["limits.anonymous: 100 is not a rate", "and second, minute"],
    ),
    "rate of nothing": (EXTENDS + "limits: {inference: 0/minute}", ["limits.inference: '0/minute' is not a rate"]),
    "rate for ever": (EXTENDS + "limits: {inference: 9/week}", ["limits.inference: '9/week' is not a rate"]),
    "rate that is on": (EXTENDS + "limits: {inference: on}", ["limits.inference: True is not a rate"]),
    "no tokens": (EXTENDS + "limits: {key: {tokens_per_day: 0}}", ["limits.key.tokens_per_day", ">= 1"]),
    "counted elsewhere": (
        EXTENDS + "limits: {counted_in: redis}",
        ["limits.counted_in", "'memory', 'store'"],
    ),
    "no proxy": (EXTENDS + "server: {trusted_proxies: [proxy]}", ["trusted_proxies: 'proxy'", "10.0.0.0/8"]),
    "proxy with host bits": (
        EXTENDS + "server: {trusted_proxies: [10.1.0.0/8]}",
        ["has host bits set"],
    ),
    "anybody through a proxy": (
        EXTENDS + "access: {anonymous: on-loopback}\nserver: {trusted_proxies: [127.0.0.1]}",
        ["access.anonymous", "trusted_proxies", "'refuse'", "anyone-who-can-reach-this-server"],
    ),
    "negative seconds": (EXTENDS + "server: {grace_seconds: -1}", ["server.grace_seconds", ">= 0"]),
    "no seconds": (EXTENDS + "server: {keepalive_seconds: 0}", ["server.keepalive_seconds", "> 0"]),
    "no number": (EXTENDS + "server: {keepalive_seconds: .nan}", ["server.keepalive_seconds", "> 0"]),
    "tiny body limit": (EXTENDS + "server: {max_body_bytes: 10}", ["server.max_body_bytes", ">= 1024"]),
    "no API prefix": (EXTENDS + "server: {api_prefixes: []}", ["server.api_prefixes", "length >= 1"]),
    "bad API prefix": (EXTENDS + "server: {api_prefixes: [v1]}", ["server.api_prefixes", "must begin with '/'"]),
    "bad choice": (
        EXTENDS + "access: {anonymous: everyone}",
        ["access.anonymous", "'auto', 'refuse', 'on-loopback', 'anyone-who-can-reach-this-server'"],
    ),
    "bad log format": (EXTENDS + "log: {format: xml}", ["log.format", "'auto', 'json', 'console'"]),
    "bad log level": (EXTENDS + "log: {level: loud}", ["log.level", "'debug', 'info', 'warning', 'error'"]),
    "models are no list": (EXTENDS + "models: {id: a}", ["models: Expected `array`"]),
    "model without an id": (EXTENDS + "models: [{engine: echo}]", ["models[0].id: The key 'id' is required."]),
    "model id with a space": (EXTENDS + "models: [{id: a b, engine: echo}]", ["models[0].id", "matching"]),
    "unknown engine": (EXTENDS + "models: [{id: a, engine: vroom}]", ["models[0] (a): engine", "echo, llamacpp"]),
    "bad on_failure": (
        EXTENDS + "models: [{id: a, engine: echo, on_failure: hope}]",
        ["models[0].on_failure", "'wait', 'restart', 'exit'"],
    ),
    "no time to wait": (
        EXTENDS + "models: [{id: a, engine: echo, queue_timeout_seconds: 0}]",
        ["models[0].queue_timeout_seconds", "> 0"],
    ),
    "no time for a step": (
        EXTENDS + "models: [{id: a, engine: echo, stall_seconds: -1}]",
        ["models[0].stall_seconds", "> 0"],
    ),
    "bad load": (EXTENDS + "models: [{id: a, engine: echo, load: soon}]", ["models[0].load", "'eager', 'lazy'"]),
    "unknown engine option": (
        EXTENDS + "models: [{id: a, engine: echo, options: {speed: 1}}]",
        ["models[0] (a): options.speed: Unknown key", "context, slots, step_seconds, python_seconds, repeat"],
    ),
    "no slots": (
        EXTENDS + "models: [{id: a, engine: echo, options: {slots: 0}}]",
        ["models[0] (a): options.slots", ">= 1"],
    ),
    "engine option of wrong type": (
        EXTENDS + "models: [{id: a, engine: llamacpp, options: {slots: many}}]",
        ["models[0] (a): options.slots: Expected `int`"],
    ),
    "cache smaller than the context": (
        EXTENDS + "models: [{id: a, engine: llamacpp, options: {cache_tokens: 5}}]",
        ["models[0] (a)", "cache_tokens is 5", "2048"],
    ),
    "missing model file": (
        EXTENDS + "models: [{id: a, engine: llamacpp, options: {model: nope.gguf}}]",
        ["models[0] (a)", "nope.gguf does not exist", "'bundled'"],
    ),
    "name used twice": (
        EXTENDS + "models: [{id: a, engine: echo}, {id: b, engine: echo, aliases: [a]}]",
        ["models[1]: The name 'a' is that of models[0] already"],
    ),
    "route without a name": (
        EXTENDS + f"routes: [{{path: /a, handler: {HEALTH}}}]",
        ["name: The key 'name' is required."],
    ),
    "route to no module": (EXTENDS + "routes: [{path: /a, handler: no.Such, name: a}]", ["(/a)", "module.Class"]),
    "route to no class": (
        EXTENDS + "routes: [{path: /a, handler: handlers.service.health.No, name: a}]",
        ["(/a)", "Can't import"],
    ),
    "route to no handler": (
        EXTENDS + "routes: [{path: /a, handler: pathlib.Path, name: a}]",
        ["(/a)", "must extend jan.handler.Handler"],
    ),
    "route without a slash": (EXTENDS + f"routes: [{{path: a, handler: {HEALTH}, name: a}}]", ["begin with '/'"]),
    "path parameter that nobody takes": (
        EXTENDS + f"routes: [{{path: '/a/{{x}}', handler: {HEALTH}, name: a}}]",
        ["(/a/{x})", "path parameters [], but the path has ['x']"],
    ),
    "options for a handler without": (
        EXTENDS + f"routes: [{{path: /a, handler: {HEALTH}, name: a, options: {{x: 1}}}}]",
        ["(/a): options: HealthCheck takes none"],
    ),
    "two routes with one path": (
        f"routes: [{{path: /a, handler: {HEALTH}, name: a}}, {{path: /a, handler: {HEALTH}, name: b}}]",
        ["Two routes have the path /a: a, b"],
    ),
    "beyond loopback": (
        EXTENDS + "server: {host: 0.0.0.0}",
        ["access.anonymous", "'refuse', or 'anyone-who-can-reach-this-server'"],
    ),
    "unset variable": (EXTENDS + "data: ${NO_SUCH_VARIABLE}", ["data", "NO_SUCH_VARIABLE", "Set it, or write"]),
    "hook of no module": (
        EXTENDS + "hooks: [nowhere.Hook]",
        ["hooks[0]: Can't import 'nowhere.Hook'", "module.Class"],
    ),
    "hook that is none": (
        EXTENDS + "hooks: [handlers.service.health.HealthCheck]",
        ["hooks[0]: Can't make 'handlers.service.health.HealthCheck': TypeError"],
    ),
    "hook that is no text": ("hooks: [1]", ["hooks[0]: Expected `str`, got `int`"]),
    "hooks that are no list": ("hooks: {a: b}", ["hooks: Expected `array`, got `object`"]),
    "broken YAML": ("a: [1\n", ["jan.yaml:2: It is not valid YAML"]),
    "tab in YAML": ("a:\n\t- b\n", ["jan.yaml:2: It is not valid YAML"]),
    "YAML that would run code": (
        "a: !!python/object/apply:os.getcwd []",
        ["jan.yaml:1: The tag '!!python/object/apply:os.getcwd' is not plain data"],
    ),
    "alias in its own anchor": (EXTENDS + "data: &a [*a]", ["anchor"]),
    "no mapping": ("- a\n", ["The whole file is a list. It must be a mapping, such as 'server: {port: 1337}'."]),
    "a single word": ("a\n", ["The whole file is one value. It must be a mapping"]),
    "extends nothing": ("extends: nope.yaml", ["extends: There is no file /", "/nope.yaml", str(DEFAULT_CONFIG)]),
    "extends a list": ("extends: [a]", ["extends: There is no file /", "/['a']"]),
    "extends itself": ("extends: jan.yaml", ["extends: The file jan.yaml leads back to this one"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_check_explains_a_mistake_in_one_line(check: Callable[..., str], tmp_path: Path, name: str) -> None:
    """A mistake in the configuration is exit code 1 and one line that names the file, the path in it, and
    what is allowed there."""
    config, words = MISTAKES[name]
    (tmp_path / "jan.yaml").write_text(config)
    line = check("jan.yaml")
    assert re.match(r"jan: jan\.yaml(:\d+)?: ", line)
    for word in words:
        assert word in line


# A document, and where its mistake is: a key that stands there twice, or another thing that YAML reads oddly.
ODD_YAML: dict[str, tuple[str, str]] = {
    "section twice": (
        "server: {port: 8321, trusted_hosts: [a.example]}\nmodels: []\nserver: {grace_seconds: 5}\n",
        "jan.yaml:3: The key 'server' in column 1 was given before, in line 1, column 1; allowed: once.",
    ),
    "nested twice": (
        "server:\n  port: 1\n  'port': 2\n",
        "jan.yaml:3: The key 'port' in column 3 was given before, in line 2, column 3",
    ),
    "twice in a list": (
        'models:\n  - {id: a, engine: echo, "id": b}\n',
        "jan.yaml:2: The key 'id' in column 27 was given before, in line 2, column 6",
    ),
    "twice in options": (
        "models: [{id: a, options: {x: {y: 1, y: 1}}}]\n",
        "jan.yaml:1: The key 'y' in column 38",
    ),
    "two merges": ("a: &a {}\nserver: {<<: *a, <<: *a}\n", "jan.yaml:2: The key '<<' in column 18"),
    "merge of a text": ("server: {<<: text}\n", "jan.yaml:1: What '<<' merges must be a mapping"),
    "octal": ("server: {port: 010}\n", "jan.yaml:1: YAML reads 010 as the number 8. Write that number"),
    "digits that are no octal": ("server: {port: 08080}\n", "jan.yaml:1: server.port: Expected `int`, got `str`"),
    "sexagesimal": ("server:\n  port: 1:30\n", "jan.yaml:2: YAML reads 1:30 as the number 90. Write that"),
    "a word that is no text": (
        "auth: {issuer: no}\n",
        "jan.yaml:1: auth.issuer: Expected `str`, got `bool`. Put quotes",
    ),
    "a number that is no text": ("data: 5\n", "jan.yaml:1: data: Expected `str`, got `int`. Put quotes"),
    "a huge number": (
        f"server: {{port: {'9' * 5000}}}\n",
        "jan.yaml:1: It can't be read as a value of the type int",
    ),
    "second document": (
        "data: a\n---\ndata: b\n",
        "jan.yaml:2: It is not valid YAML: a second document begins here",
    ),
    "NUL": ("data: a\nserver: {host: \0}\n", "jan.yaml:2: The character U+0000 is not allowed in YAML."),
    "tag": ("data: !!binary aGk=\n", "jan.yaml:1: The tag '!!binary' is not plain data; allowed: no tag."),
    "private tag": ("data: !env HOME\n", "jan.yaml:1: The tag '!env' is not plain data"),
    "tag of a key": ("!env data: a\n", "jan.yaml:1: The tag '!env' is not plain data"),
    "wrong for its tag": ("server: {port: !!int x}\n", "jan.yaml:1: It can't be read as a value of the type int"),
    "no digits": ("server: {port: !!int ''}\n", "jan.yaml:1: It can't be read as a value of the type int"),
    "no digits but a sign": ("log: !!float '-'\n", "jan.yaml:1: It can't be read as a value of the type float"),
    "long number": ("data: 0x" + "f" * 6000, "a value of the type int; allowed: at most 100 characters."),
    "long sexagesimal": ("data: 1" + ":1" * 3000, "a value of the type int; allowed: at most 100 characters."),
    "long sexagesimal float": ("data: 1" + ":1" * 200 + ".0", "a value of the type float; allowed: at most 100"),
    "key that YAML reads as true": ("on: 1\n", "jan.yaml:1: on: Unknown key 'on'"),
    "number as a key": ("server: {1: 2}\n", "jan.yaml:1: server.1: Unknown key '1'"),
    "list as a key": ("? [a]\n: 1\n", "jan.yaml:1: A key must be a text."),
    "no key": ("? \n: 1\n", "jan.yaml:1: A key must be a text."),
    "alias of nothing": ("data: *a\n", "jan.yaml:1: It is not valid YAML: found undefined alias."),
    "deep": ("data: " + "[" * 900 + "]" * 900, "jan.yaml:1: It is nested too deeply."),
    "deeper": ("data: " + "[" * 100_000, "jan.yaml:1: It is not valid YAML: exceeded maximum nesting depth."),
    "aliases of aliases": (
        "a: &a [1,1,1,1,1,1,1,1,1,1]\n"
        + "".join(
            f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
        ),
        "With its aliases it has more than 100000 values.",
    ),
}


@pytest.mark.parametrize("name", ODD_YAML)
def test_yaml_that_means_something_else_is_refused(check: Callable[..., str], tmp_path: Path, name: str) -> None:
    """What YAML would drop or read as something else is one line with its place. Nothing is dropped in silence."""
    document, words = ODD_YAML[name]
    (tmp_path / "jan.yaml").write_text(document)
    assert words in check("jan.yaml")


def test_a_key_twice_in_an_extended_file(check: Callable[..., str], tmp_path: Path) -> None:
    """The place is that of the file which has the mistake."""
    (tmp_path / "base.yaml").write_text("log: {level: info}\nlog: {format: json}\n")
    (tmp_path / "jan.yaml").write_text("extends: base.yaml\nlog: {level: debug}\n")
    assert "base.yaml:2: The key 'log' in column 1 was given before, in line 1" in check("jan.yaml")


def test_yaml_that_means_what_it_says(tmp_path: Path) -> None:
    """A byte order mark, merge keys, dates as texts, and grouped digits are read as they are meant."""
    file = tmp_path / "jan.yaml"
    file.write_text(
        "\ufeffextends: default\nserver: &s {port: 8_321, grace_seconds: 0x10}\n"
        "models:\n  - &m {id: 2026-01-31, engine: echo, load: lazy}\n  - {<<: [{id: b}, *m], load: eager}\n"
        "data: 2026-01-31\nlimits: {anonymous: off}\n"
    )
    settings = load_settings(file, {})
    assert (settings.data, settings.server.port, settings.server.grace_seconds) == ("2026-01-31", 8321, 16)
    assert [(model.id, model.load) for model in settings.models] == [("2026-01-31", "lazy"), ("b", "eager")]
    assert settings.limits.anonymous is False


MANY = """\
extends: default
server:
  prot: 1
  max_headers: 1
  cors_origins: [https://a.example, "*"]
  trusted_hosts: ["A B"]
logs: {level: info}
log: {level: warn, format: 5}
models:
  - {id: a, engine: echo, lode: lazy}
  - {id: b c, engin: echo}
auth: {algorithm: RS265}
"""
SHOWN = [
    "jan.yaml:7: logs: Unknown key 'logs'; allowed: data, Did you mean 'log'?",
    "jan.yaml:3: server.prot: Unknown key 'prot'; allowed: host, Did you mean 'port'?",
    "jan.yaml:4: server.max_headers: Expected `int` >= 10.",
    "jan.yaml:5: server.cors_origins: '*' is not exactly one origin;",
    "jan.yaml:6: server.trusted_hosts: 'A B' is not a host name;",
    "jan.yaml:12: auth.algorithm: Invalid enum value 'RS265'; allowed: 'HS256', Did you mean 'RS256'?",
    "jan.yaml:8: log.format: Expected",
    "jan.yaml:8: log.level: Invalid enum value 'warn'; allowed: Did you mean 'warning'?",
    "jan.yaml:10: models[0].lode: Unknown key 'lode'; allowed: Did you mean 'load'?",
    "jan.yaml:11: models[1].engin: Unknown key 'engin'; allowed: Did you mean 'engine'?",
    "jan.yaml:11: models[1].id: Expected `str` matching",
    "jan.yaml:11: models[1].engine: The key 'engine' is required.",
]


def test_every_mistake_is_shown(check_all: Callable[..., list[str]], tmp_path: Path) -> None:
    """Several mistakes are a line each: with file and line, what is allowed, and the word that was meant."""
    (tmp_path / "jan.yaml").write_text(MANY)
    lines = check_all("jan.yaml")
    assert len(lines) == len(SHOWN), lines
    for line, words in zip(lines, SHOWN, strict=True):
        head, _, question = words.partition(" Did you mean")
        for part in head.split(" allowed: ")[0], question:
            assert part in line


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ("server: {prot: 80}", "jan.yaml:2: server.prot: "),
        ("access: {anonymous: on-loopback}\nserver: {host: 0.0.0.0}", "jan.yaml:2: access.anonymous: "),
    ],
)
def test_an_unknown_engine_is_shown_beside_others(
    check_all: Callable[..., list[str]], tmp_path: Path, other: str, said: str
) -> None:
    """Its mistake is in the first list, whatever else is wrong."""
    (tmp_path / "jan.yaml").write_text(f"models: [{{id: a, engine: ecoh}}]\n{other}\n")
    first, engine = check_all("jan.yaml")
    assert said in first
    assert "jan.yaml:1: models[0].engine: Unknown engine 'ecoh'; allowed: echo, " in engine
    assert engine.endswith("Did you mean 'echo'?")


def test_a_page_of_mistakes_is_enough(check_all: Callable[..., list[str]], tmp_path: Path) -> None:
    """Twenty mistakes are shown, and how many more there are."""
    (tmp_path / "jan.yaml").write_text("".join(f"wrong{number}: 1\n" for number in range(25)))
    lines = check_all("jan.yaml")
    assert len(lines) == 21
    assert lines[-1] == "jan: There are 5 more mistakes."


# What only a server that is made finds; {folder} is the configuration's.
UNSERVABLE: dict[str, tuple[str, str]] = {
    "empty": ("", "jan: jan.yaml: routes: There are none, so the server would answer no request."),
    "only comments": ("# server: {port: 1}\n---\n", "jan: jan.yaml: routes: There are none"),
    "models alone": ("models: [{id: a, engine: echo}]\n", "jan: jan.yaml: routes: There are none"),
    "no TLS files": (
        EXTENDS + "server:\n  tls: {certificate: c.pem, key: k.pem}\n",
        "jan: jan.yaml:3: server.tls.certificate: Can't read c.pem: No such file or directory.",
    ),
    "TLS files with NUL": (
        EXTENDS + 'server: {tls: {certificate: "a\\0b", key: k.pem}}\n',
        "jan: jan.yaml:2: server.tls.certificate: Can't read",
    ),
    "TLS files that are none": (
        EXTENDS + "server: {tls: {certificate: jan.yaml, key: jan.yaml}}\n",
        "jan: jan.yaml:2: server.tls: Can't use certificate jan.yaml with key jan.yaml",
    ),
    "unknown store": (
        EXTENDS + "storage: {url: 'postgres://u:pw@x'}\n",
        "jan: jan.yaml:2: storage.url: Unknown scheme",
    ),
    "a store in a file's folder": (
        EXTENDS + "storage: {url: 'sqlite:///jan.yaml/jan.db'}\n",
        "jan: jan.yaml:2: storage.url: Can't open {folder}/jan.yaml/jan.db",
    ),
    "a store that is none": (
        EXTENDS + "storage: {url: 'sqlite:///jan.yaml'}\n",
        "jan: jan.yaml:2: storage.url: {folder}/jan.yaml is not an SQLite database.",
    ),
    "a store that is a folder": (
        EXTENDS + "storage: {url: 'sqlite:////tmp'}\n",
        "jan: jan.yaml:2: storage.url: Can't open /tmp: Is a directory.",
    ),
    "another program's store": (
        EXTENDS + "storage: {url: 'sqlite:///other.db'}\n",
        "jan: jan.yaml:2: storage.url: {folder}/other.db is the database of another program.",
    ),
    "a newer store": (
        EXTENDS + "storage: {url: 'sqlite:///newer.db'}\n",
        "jan: jan.yaml:2: storage.url: {folder}/newer.db has schema version 999, written by a newer Jan Server.",
    ),
    "data in a file": (
        EXTENDS + "data: jan.yaml\n",
        "jan: jan.yaml:2: data: Can't make signing keys in jan.yaml/",
    ),
    "data with NUL": (EXTENDS + 'data: "a\\0b"\n', "jan: jan.yaml:2: data: Can't make signing keys in"),
    "data with broken keys": (EXTENDS + "data: broken\n", "1.HS256.key: Not a signing key; allowed: PEM"),
    "no GGUF": (
        EXTENDS + "models: [{id: a, engine: llamacpp, options: {model: jan.yaml}}]\n",
        "jan: jan.yaml:2: models[0] (a): Model file jan.yaml is no GGUF file",
    ),
    "engine that is misspelt": (
        EXTENDS + "models: [{id: a, engine: lamacpp}]\n",
        "jan: jan.yaml:2: models[0] (a): engine: Unknown engine 'lamacpp'; allowed: echo, llamacpp, exllamav2, "
        "exllamav3, or module.Class. Did you mean 'llamacpp'?",
    ),
    "handler that is misspelt": (
        EXTENDS + "routes: [{path: /a, handler: handlers.service.health.HealthChek, name: a}]\n",
        "allowed: HealthCheck, VersionInfo. Did you mean 'HealthCheck'?",
    ),
    "option that is misspelt": (
        EXTENDS + "models:\n  - id: a\n    engine: echo\n    options:\n      slotz: 1\n",
        "jan: jan.yaml:6: models[0] (a): options.slotz: Unknown key 'slotz'; allowed: context, slots",
    ),
    "Google without its secret": (
        EXTENDS + "sign_in: {client_id: jan}\n",
        "jan: jan.yaml: sign_in.client_secret: Required, because https://accounts.google.com needs it.",
    ),
    "a secret that is not sent": (
        EXTENDS + "sign_in: {client_id: jan, issuer: 'https://i.example', client_authentication: basic}\n",
        "sign_in.client_secret: Required, because client_authentication basic needs it.",
    ),
}


def _unservable_files(folder: Path) -> None:
    """Files that a configuration of UNSERVABLE names: databases of others, and a broken signing key."""
    for name, version in (("other", 0), ("newer", 999)):
        with closing(sqlite3.connect(folder / f"{name}.db")) as database:
            database.execute("CREATE TABLE anything (id INTEGER)")
            database.execute(f"PRAGMA user_version = {version}")
            database.execute(f"PRAGMA application_id = {APPLICATION_ID if version else 0}")
    (folder / "broken" / "signing-keys").mkdir(parents=True)
    (folder / "broken" / "signing-keys" / "1.HS256.key").write_bytes(b"short")


ALL_WRONG = {
    **{f"mistake: {name}": config for name, (config, _) in MISTAKES.items()},
    **{f"odd: {name}": config for name, (config, _) in ODD_YAML.items()},
    **{f"unservable: {name}": config for name, (config, _) in UNSERVABLE.items()},
    "many": MANY,
    "many that a server finds": EXTENDS
    + (
        "hooks: [nowhere.Hook, nowhere.Other]\nserver: {tls: {certificate: no.pem, key: no.pem}}\n"
        "models: [{id: a, engine: lamacpp}, {id: b, engine: echo, options: {slotz: 1, context: x}}]\n"
        "routes: [{path: /a, handler: no.Such, name: a}, {path: b, handler: no.Such, name: b}]\n"
        "storage: {url: 'postgres://x'}\n"
    ),
}


@pytest.mark.parametrize("name", ALL_WRONG)
def test_check_and_serve_say_the_same(check_all: Callable[..., list[str]], tmp_path: Path, name: str) -> None:
    """`jan serve` refuses what `jan check` refuses, in the same words, and leaves nothing behind."""
    _unservable_files(tmp_path)
    (tmp_path / "jan.yaml").write_text(ALL_WRONG[name])
    lines, before = check_all("jan.yaml"), sorted(tmp_path.rglob("*"))
    server = CliRunner().invoke(main, ["serve", "--config", "jan.yaml"])
    assert (server.exit_code, server.stdout) == (1, "")
    assert server.stderr.splitlines() == lines
    assert sorted(tmp_path.rglob("*")) == before
    if name.startswith("unservable: "):
        words = UNSERVABLE[name.removeprefix("unservable: ")][1].replace("{folder}", str(tmp_path))
        assert len(lines) == 1
        assert words in lines[0]
    if name == "many that a server finds":
        assert len(lines) == 9, lines


def test_serve_explains_a_mistake_in_one_line(tmp_path: Path) -> None:
    """`jan serve` and the other commands that read the configuration refuse a wrong one like `jan check`."""
    (tmp_path / "jan.yaml").write_text(EXTENDS + "server: {prot: 1}")
    assert "server.prot" in complaint(jan("check", "jan.yaml", cwd=tmp_path))
    for command in ("serve", "routes", "openapi"):
        assert "server.prot" in complaint(jan(command, "--config", "jan.yaml", cwd=tmp_path))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A configuration that is missing or no UTF-8 is one line with the reason; a folder is a usage error."""
    (tmp_path / "latin.yaml").write_bytes(b"data: \xff\xfe")
    assert "nope.yaml: It can't be read: No such file" in complaint(jan("check", "nope.yaml", cwd=tmp_path))
    assert "latin.yaml:1: It can't be read: The byte 0xff is not UTF-8" in complaint(
        jan("check", "latin.yaml", cwd=tmp_path)
    )
    assert jan("check", ".", cwd=tmp_path).returncode == 2


def test_check_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A right configuration is checked without making the data folder; no models is a note, and what can only be
    tried is named."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "jan.yaml").write_text("extends: default\nmodels: []\n")
    result = CliRunner().invoke(main, ["check", "jan.yaml"])
    assert (result.exit_code, result.stderr) == (0, "")
    fine, note, untried = result.stdout.splitlines()
    assert re.fullmatch(r"jan\.yaml: fine; \d+ URLs, 0 models", fine)
    assert note == "Note: The configuration has no `models`, so chats and completions are refused."
    assert untried.startswith("Not checked: whether the port is free")
    assert [path.name for path in tmp_path.iterdir()] == ["jan.yaml"]


def test_check_of_a_right_file(tmp_path: Path) -> None:
    """A right configuration is exit code 0 and a line that says what is in it, on standard output."""
    result = jan("check", str(DEFAULT_CONFIG), cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert re.search(r"jan\.yaml: fine; \d+ URLs, 1 model\n", result.stdout)


# --- the environment --------------------------------------------------------------------------------

WRONG_OVERRIDES: dict[tuple[str, str], str] = {
    ("JAN__SERVER__PORT", "abc"): "jan: JAN__SERVER__PORT: server.port: Expected `int`",
    ("JAN__SERVER__PORT", ""): "jan: JAN__SERVER__PORT: server.port: Expected `int`",
    ("JAN__SERVER__PORT", "null"): "jan: JAN__SERVER__PORT: server.port: Expected `int`",
    ("JAN__SERVER__PROT", "1"): "jan: JAN__SERVER__PROT: server.prot: Unknown key",
    ("JAN__SERVER", "5"): "jan: JAN__SERVER: server: Expected `object`",
    ("JAN__LOG__FORMAT", "xml"): "jan: JAN__LOG__FORMAT: log.format: Invalid enum value",
    (
        "JAN__SERVER__CORS_ORIGINS",
        '["https://a.example/x"]',
    ): "jan: JAN__SERVER__CORS_ORIGINS: server.cors_origins",
    ("JAN__MODELS__0__OPTIONS__SLOTZ", "1"): "jan: JAN__MODELS__0__OPTIONS__SLOTZ: models[0] (smollm2",
    ("JAN__", "1"): "jan: JAN__: It names no setting",
    ("JAN__SERVER____PORT", "1"): "jan: JAN__SERVER____PORT: It names no setting",
    ("JAN__SERVER__PORT__", "1"): "jan: JAN__SERVER__PORT__: It names no setting",
    (
        "JAN__SERVER",
        "{port: 1, port: 2}",
    ): "jan: JAN__SERVER: The key 'port' in column 11 was given before, in column 2",
    ("JAN__SERVER__PORT__X", "1"): "JAN__SERVER__PORT__X: The key 'x' can't be set there",
    ("JAN__NOPE", "1"): "jan: JAN__NOPE: nope: Unknown key",
    ("JAN__MODELS__7__ID", "x"): "JAN__MODELS__7__ID: There is nothing at '7'",
    ("JAN__MODELS__0__ENGINE", "vroom"): "Unknown engine 'vroom'",
    ("JAN__MODELS", "[{id"): "JAN__MODELS: It is not valid YAML",
    ("JAN__SERVER__HOST", "0.0.0.0"): "access.anonymous",
}


@pytest.mark.parametrize("override", WRONG_OVERRIDES, ids="=".join)
def test_a_wrong_override_is_explained(check: Callable[..., str], override: tuple[str, str]) -> None:
    """A wrong JAN__ variable is one line that names it or the path that it sets."""
    assert WRONG_OVERRIDES[override] in check(str(DEFAULT_CONFIG), **dict([override]))


def test_variables_and_overrides_take_effect(tmp_path: Path) -> None:
    """${NAME} is filled in from the environment, its default where it is not set, and JAN__ variables
    override what the file says, lists as YAML included."""
    config = tmp_path / "jan.yaml"
    config.write_text(EXTENDS + "models: [{id: '${ID}', engine: '${ENGINE:-echo}'}]\nserver: {grace_seconds: -1}")
    models = "[{id: one, engine: echo}, {id: two, engine: echo}]"
    environ = {"ID": "my-model", "JAN__SERVER__GRACE_SECONDS": "1"}
    assert "1 model\n" in jan("check", str(config), cwd=tmp_path, **environ).stdout
    assert "2 models" in jan("check", str(config), cwd=tmp_path, **environ, JAN__MODELS=models).stdout
    server = ServerProcess(config, environ=environ | {"JAN__SERVER__API_PREFIXES": "[/api/v1, /elsewhere]"})
    try:
        with http_client(server) as client:
            assert [model["id"] for model in client.get("/elsewhere/models").json()["data"]] == ["my-model"]
            assert client.get("/v1/models").status_code == 404
        assert server.stop() == 0
    finally:
        server.kill_if_running()


# --- starting ---------------------------------------------------------------------------------------


def test_routes_prints_the_audit_table(tmp_path: Path) -> None:
    """`jan routes` shows every URL and method with who may call it, its limit and its name."""
    result = jan("routes", cwd=tmp_path)
    rows = [re.split(r"  +", line) for line in result.stdout.splitlines()]
    assert result.returncode == 0
    assert rows[0] == ["URL", "METHOD", "ACCESS", "LIMIT", "NAME"]
    assert {row[0] for row in rows} >= {"/api/v1/chat/completions", "/v1/chat/completions", "/health"}
    assert all(len(row) == 5 and all(row) for row in rows)
    assert ["/health", "GET", "public", "none", "health"] in rows


def test_a_port_in_use(tmp_path: Path) -> None:
    """A port that is taken is exit code 3 and one line that names it and how to choose another."""
    config = tmp_path / "jan.yaml"
    config.write_text(ECHO_CONFIG)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = complaint(jan("serve", "--config", str(config), "--port", port, cwd=tmp_path), code=3)
    assert f"127.0.0.1:{port}" in line
    assert "--port" in line


def test_an_address_that_is_not_ours(tmp_path: Path) -> None:
    """So is an address that this machine does not have."""
    config = tmp_path / "jan.yaml"
    config.write_text(ECHO_CONFIG + "access: {anonymous: anyone-who-can-reach-this-server}\n")
    for host in ("192.0.2.1", "no-such-host.invalid"):
        arguments = ("serve", "--config", str(config), "--host", host, "--port", "0")
        assert host in complaint(jan(*arguments, cwd=tmp_path), code=3)


def test_beyond_loopback_only_on_purpose(tmp_path: Path) -> None:
    """--host beyond loopback is refused like the same setting in the file."""
    config = tmp_path / "jan.yaml"
    config.write_text(ECHO_CONFIG)
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.com"):
        line = complaint(jan("serve", "--config", str(config), "--host", host, "--port", "0", cwd=tmp_path))
        assert "anyone-who-can-reach-this-server" in line


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    """A model file that is no GGUF file is exit code 1 and a line that names it."""
    (tmp_path / "fake.gguf").write_text("GGUF, but not a model")
    config = tmp_path / "jan.yaml"
    config.write_text(EXTENDS + "models: [{id: a, engine: llamacpp, options: {model: fake.gguf}}]")
    result = jan("serve", "--config", "jan.yaml", "--port", "0", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    # The audit logs its head before, in between or after.
    *progress, line = (line for line in result.stderr.splitlines() if '"event":"audit"' not in line)
    assert progress == ["loading a ..."]
    assert line.startswith("jan: jan.yaml: Model file fake.gguf can't be loaded")


# --- running ----------------------------------------------------------------------------------------


@pytest.fixture
def serve(tmp_path: Path) -> Any:
    """Starts servers, of which none outlives the test."""
    numbers = count()
    with ExitStack() as servers:

        def start(config: str, *arguments: str, **environ: str) -> ServerProcess:
            file = tmp_path / f"jan{next(numbers)}.yaml"
            file.write_text(config)
            server = ServerProcess(file, *arguments, environ=environ)
            servers.callback(server.kill_if_running)
            return server

        yield start


Serve = Callable[..., ServerProcess]


def ask(client: httpx.Client, model: str, text: str = "hi", **parameters: Any) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": text}], **parameters}
    return client.post(CHAT, json=body)


@pytest.mark.model
def test_two_models_one_of_them_lazy(serve: Serve) -> None:
    """Several models are served at once; a lazy one is loaded at its first request, however many come for it
    at the same time, and only once."""
    real = "options: {model: bundled, context: 256, slots: 4}"
    server = serve(
        f"{EXTENDS}log: {{format: json}}\n"
        f"models: [{{id: quick, engine: echo}}, {{id: real, engine: llamacpp, load: lazy, {real}}}]\n"
    )
    assert "real (llamacpp, at first use)" in server.banner
    with http_client(server) as client:
        assert ask(client, "quick").status_code == 200
        loaded = [entry["model"] for entry in server.log if entry["event"] == "model loaded"]
        assert loaded == ["quick"]
        with ThreadPoolExecutor(3) as threads:
            waiting = [threads.submit(ask, client, "real", max_tokens=2) for _ in range(3)]
            assert ask(client, "quick").json()["choices"][0]["message"]["content"] == "hi"
            answers = [answer.result(120) for answer in waiting]
    assert [answer.json()["usage"]["completion_tokens"] for answer in answers] == [2, 2, 2]
    assert server.stop() == 0
    assert [entry["model"] for entry in server.log if entry["event"] == "model loaded"] == ["quick", "real"]
    assert server.errors() == []


def test_a_lazy_model_that_cannot_be_loaded(serve: Serve, tmp_path: Path) -> None:
    """A lazy model whose file turns out bad is 503 for its requests and a line in the log; the others work."""
    (tmp_path / "fake.gguf").write_text("GGUF, and not a model")
    bad = "{id: bad, engine: llamacpp, load: lazy, options: {model: fake.gguf}}"
    server = serve(f"{EXTENDS}log: {{format: json}}\nmodels: [{{id: quick, engine: echo}}, {bad}]\n")
    with http_client(server) as client:
        for _ in range(2):
            response = ask(client, "bad")
            assert response.status_code == 503
            assert "bad" in response.json()["error"]["message"]
            assert ask(client, "quick").status_code == 200
    assert server.stop() == 0
    assert {(entry["event"], entry["model"]) for entry in server.errors()} == {("model can't be loaded", "bad")}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_an_idle_server(serve: Serve, number: int) -> None:
    """SIGTERM and Ctrl-C end an idle server with exit code 0, also with a client's connection open."""
    server = serve(ECHO_CONFIG)
    with http_client(server) as client:
        assert client.get("/health").status_code == 200
        server.signal(number)
        assert server.wait() == 0
    assert [entry["event"] for entry in server.log if entry["event"] in ("stopping", "stopped")] == [
        "stopping",
        "stopped",
    ]
    assert server.errors() == []


WORDS = " ".join(f"word{number}" for number in range(60))
SLOW = {"model": "slow", "messages": [{"role": "user", "content": WORDS}], "stream": True}


def is_stopping(server: ServerProcess) -> bool:
    return any(entry["event"] == "stopping" for entry in server.log)


def test_a_running_answer_is_finished_before_the_end(serve: Serve) -> None:
    """At SIGTERM a stream under way comes to its own end while new connections are refused; exit code 0."""
    server = serve(ECHO_CONFIG)
    with http_client(server) as client, client.stream("POST", CHAT, json=SLOW) as response:
        lines = in_time(response.iter_lines())
        next(lines)
        server.signal(signal.SIGTERM)
        assert until(lambda: is_stopping(server))
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{server.url}/health", trust_env=False)
        data = [line for line in lines if line.startswith("data: ")]
    assert data[-1] == "data: [DONE]"
    pieces = [json.loads(line[6:])["choices"][0]["delta"].get("content", "") for line in data[:-1]]
    assert "".join(pieces) == WORDS
    assert server.wait() == 0
    assert [entry["ended_early"] for entry in server.log if entry["event"] == "stopped"] == [0]
    assert server.errors() == []


def test_a_second_signal_ends_at_once(serve: Serve) -> None:
    """A second Ctrl-C does not wait for answers under way: exit code 130, as shells have it."""
    # An answer of half a minute, and as much grace: neither ends by itself on a machine that is slow.
    server = serve(ECHO_CONFIG.replace("grace_seconds: 5", "grace_seconds: 60"))
    slow = {**SLOW, "messages": [{"role": "user", "content": " ".join([WORDS] * 25)}]}
    with http_client(server) as client, client.stream("POST", CHAT, json=slow) as response:
        lines = response.iter_lines()  # kept, since the client leaves when it is dropped
        next(lines)
        server.signal(signal.SIGINT)
        assert until(lambda: is_stopping(server))
        server.signal(signal.SIGINT)
        assert server.wait() == 130


# --- the log ----------------------------------------------------------------------------------------

MARK = "xyzzy"


def test_the_log_tells_of_requests_and_not_what_was_said(serve: Serve) -> None:
    """Every request has one line with id, route, method, status and time; credentials, prompts, answers and
    bodies never appear, not in malformed requests, queries or errors either, at the finest level. An unknown URL's
    path does, so that operators learn what clients miss."""
    server = serve(ECHO_CONFIG.replace("format: json", "format: json, level: debug"))
    with http_client(server, headers={"cookie": f"a={MARK}", "x-api-key": MARK}) as client:
        for credentials in (f"Bearer {MARK}", f"Basic {MARK}", f"Bearer a.{MARK}.c", MARK):
            response = client.get("/v1/user/profile", headers={"authorization": credentials})
            assert response.status_code == 401
        assert MARK in ask(client, "echo", MARK).text
        assert MARK in ask(client, "echo", MARK, stream=True, user=MARK, metadata={MARK: MARK}).text
        assert ask(client, MARK, MARK).status_code == 404
        assert ask(client, "echo", f"{MARK} " * 5000).status_code == 400
        assert ask(client, "echo", MARK, temperature=MARK).status_code == 400
        assert ask(client, "echo", MARK, **{MARK: MARK}, stop=[MARK, ""]).status_code == 400
        for content in (f'{{"{MARK}', f'"{MARK}"', f'{{"model": "echo", "messages": "{MARK}"}}', MARK):
            response = client.post(CHAT, content=content, headers={"content-type": "application/json"})
            assert response.status_code == 400
        assert client.post(CHAT, content=MARK, headers={"content-type": f"x/{MARK}"}).status_code == 415
        assert client.get(f"/{MARK}?{MARK}={MARK}").status_code == 404
        assert client.get(f"/v1/models/{MARK}").status_code == 404
        assert client.get(f"/v1/models/{MARK}%ff").status_code == 400
        assert client.request(MARK.upper(), "/health").status_code == 405
        assert client.get("/health", headers={"x-request-id": "mine-1"}).status_code == 200
    exchange(server.url, f"{MARK} nonsense\r\n\r\n".encode())
    exchange(server.url, request("POST", CHAT, f"Content-Length: {MARK}"))
    exchange(server.url, request("GET", "/health", f"X-{MARK}: \x01{MARK}"))
    assert server.stop() == 0
    assert "".join(server.stderr).lower().count(MARK) == 1
    assert [entry["path"] for entry in server.log if "path" in entry] == [f"/{MARK}"]
    lines = [entry for entry in server.log if entry["event"] == "request"]
    assert len(lines) >= 16
    for line in lines:
        assert set(line) >= {"request_id", "route", "status", "timestamp", "level"}
        # What is no HTTP has no method, and took no time of a handler.
        assert line["route"] == "malformed" or (line["method"] and line["ms"] >= 0)
    answered = next(line for line in lines if line.get("model") == "echo")
    assert answered["completion_tokens"] == 1
    assert ("mine-1", "health", 200) in {(line["request_id"], line["route"], line["status"]) for line in lines}
    assert server.errors() == []


@pytest.mark.model
def test_the_log_of_a_failing_model_keeps_quiet_too(serve: Serve) -> None:
    """What the real model's own parts say of a bad schema or template reaches the client, not the log; with a
    thread for each core."""
    server = serve(f"{EXTENDS}log: {{format: json, level: debug}}\n", OMP_THREAD_LIMIT="1024")
    schema = {"type": "string", "pattern": f"({MARK}"}
    wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    with http_client(server) as client:
        assert MARK in ask(client, MODEL, MARK, response_format=wanted).text
        assert ask(client, MODEL, MARK, max_tokens=2).status_code == 200
    assert server.stop() == 0
    assert MARK not in "".join(server.stderr).lower()
    assert server.errors() == []

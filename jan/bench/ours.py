"""Our own server as people run it, with a configuration for the measurement."""

import http.client
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import yaml

from jan.bench.bench_error import BenchError
from jan.bench.processes import ServerUnderTest, free_port, own_environment, own_program, serving
from jan.bench.raw_http import bearer
from jan.settings.load import default_config_file

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
#: Limits that are counted but never reached.
_PLENTY = "100000000/minute"
UNLIMITED = {"authenticated": "off", "anonymous": "off", "inference": "off"}
LIMITED = {
    "authenticated": _PLENTY,
    "anonymous": _PLENTY,
    "inference": _PLENTY,
    "user": {"tokens_per_minute": 10**12, "tokens_per_day": 10**12},
    "key": {"tokens_per_minute": 10**12, "tokens_per_day": 10**12},
}
_CALL_SECONDS = 120.0
# Servers from before print the key itself.
_KEY = r"Key +(\S.*)"


def echo_model(name: str = "echo", **options: Any) -> dict[str, Any]:
    """Configure a model of the echo engine, with room for answers of any length."""
    return {"id": name, "engine": "echo", "options": {"context": 10_000_000, **options}}


def isolated_model(name: str, **options: Any) -> dict[str, Any]:
    """Configure the same in a process of its own."""
    return {**echo_model(name, **options), "isolation": "process"}


@contextmanager
def jan_server(
    folder: Path,
    models: Sequence[dict[str, Any]],
    *,
    name: str = "jan",
    limits: dict[str, Any] | None = None,
    checkout: Path | None = None,
) -> Iterator[ServerUnderTest]:
    """Run our server with these models and its default settings. Limits are off unless given.

    Each server has its own data folder, and so a new store and a first administrator. It runs this code, or the
    code of another ``checkout`` with that one's default settings.
    """
    port = free_port()
    home = folder / f"{name.replace(' ', '-')}-{port}"
    home.mkdir()
    config = home / "jan.yaml"
    settings = {
        "extends": str(checkout / "conf" / "jan.yaml" if checkout else default_config_file()),
        "models": list(models),
        "limits": UNLIMITED if limits is None else limits,
        "server": {"max_connections_per_address": 2048},
        "log": {"format": "json"},
    }
    config.write_text(yaml.safe_dump(settings))
    command = own_program(
        "jan", "serve", "--config", str(config), "--port", str(port), "--data", str(home / "data")
    )
    with serving(name, command, port, home, environ=own_environment(checkout)) as server:
        yield server


def call(server: ServerUnderTest, path: str, body: bytes, key: str, content_type: str = "application/json") -> Any:
    """Post ``body`` and return the answer's JSON. Raises BenchError if it is refused."""
    headers = {"Content-Type": content_type, **bearer(key)}
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=_CALL_SECONDS)
    try:
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        text = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise BenchError(f"POST {path} failed: {error}.") from error
    finally:
        connection.close()
    if response.status // 100 != 2:
        answer = text.decode(errors="replace")
        raise BenchError(f"POST {path} was refused with {response.status}: {answer}.")
    return msgspec.json.decode(text)


def admin_key(server: ServerUnderTest) -> str:
    """Return the key of the administrator that a server of ours made at its first start."""
    found = server.find(_KEY)
    return found if found.startswith("jan_") else Path(found).read_text().strip()

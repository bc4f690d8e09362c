"""The ``jan`` command: serve, check, routes and openapi. ``_ELSEWHERE`` names the modules of the others."""

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click

from jan import __version__
from jan.cli.chat import chat_command
from jan.cli.terminal import say
from jan.errors import ConfigurationError
from jan.settings import Settings
from jan.settings.load import Configuration, default_config_file, load_configuration

_EXIT_CONFIGURATION = 1
_EXIT_CANNOT_LISTEN = 3
_EXIT_MODEL_FAILED = 4
# A page of a terminal; more help nobody.
_MOST_MISTAKES = 20
_NO_MODEL = "The configuration has no `models`, so chats and completions are refused."

_ELSEWHERE = MappingProxyType(
    {
        "audit": "jan.cli.audit:audit",
        "user": "jan.cli.admin:user",
        "key": "jan.cli.admin:key",
        "store": "jan.cli.admin:store",
        "pull": "jan.cli.models:pull",
        "models": "jan.cli.models:list_models",
        "bench": "jan.cli.bench:bench",
        "chat": "jan.cli.chat.chat_command:chat",
        "import": "jan.cli.import_command:import_command",
        "sbom": "jan.cli.sbom:sbom",
        "status": "jan.cli.status_command:status",
    }
)

_config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="JAN_CONFIG",
    help="Configuration file; the default is the one that comes with Jan Server.",
)


class _Commands(click.Group):
    """Imports the modules of other commands only on demand, because the server needs none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_ELSEWHERE])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        module, _, name = _ELSEWHERE[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command


@click.group(cls=_Commands)
@click.version_option(__version__, prog_name="Jan Server")
def main() -> None:
    """A self-hosted, OpenAI-compatible LLM server."""


@contextmanager
def _explained() -> Iterator[None]:
    """Report mistakes in the configuration as a line each and an exit code, never as a traceback."""
    from jan.http.listening import CannotListen

    try:
        yield
    except CannotListen as error:
        say(f"jan: {error.message}", err=True)
        sys.exit(_EXIT_CANNOT_LISTEN)
    except ConfigurationError as error:
        lines = error.message.splitlines()
        for line in lines[:_MOST_MISTAKES]:
            say(f"jan: {line}", err=True)
        if len(lines) > _MOST_MISTAKES:
            say(f"jan: There are {len(lines) - _MOST_MISTAKES} more mistakes.", err=True)
        sys.exit(_EXIT_CONFIGURATION)


@contextmanager
def _settings(config: Path | None, **overrides: Any) -> Iterator[Settings]:
    """Yield the settings. Later configuration errors get the file and the line that they concern."""
    with _configuration(config, **overrides) as configuration:
        yield configuration.settings


@contextmanager
def _configuration(config: Path | None, **overrides: Any) -> Iterator[Configuration]:
    """Yield the settings with their places, as ``_settings`` does."""
    from jan.http.listening import CannotListen

    configuration = load_configuration(config or default_config_file(), **overrides)
    try:
        yield configuration
    except CannotListen:
        raise  # not caused by the file
    except ConfigurationError as error:
        raise configuration.placed(error) from error


@main.command()
@_config_option
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one.")
@click.option("--data", help="Folder for the server's own files.")
def serve(config: Path | None, host: str | None, port: int | None, data: str | None) -> None:
    """Run the server until it is stopped."""
    from jan.cli.server_process import outlast_hangups
    from jan.settings.secret_files import warn_of_open_files
    from jan.telemetry.logs import configure_logging

    with _explained(), _configuration(config, server__host=host, server__port=port, data=data) as configuration:
        settings = configuration.settings
        outlast_hangups()
        configure_logging(settings.log)
        warn_of_open_files(configuration.secret_files)
        try:
            orderly = asyncio.run(_serve_by_loops(settings) if settings.server.loops > 1 else _serve(settings))
        except KeyboardInterrupt:
            sys.exit(130)
    if not orderly:
        sys.exit(_EXIT_MODEL_FAILED)


async def _serve(settings: Settings) -> bool:
    """Serve in this process. Returns False if a model has failed whose configuration says that this ends it."""
    from jan.application import Server
    from jan.cli.server_process import serve_until_signalled

    def hand_over(url: str = "") -> None:
        _hand_over(settings, server.admin_key, server.start_code, url)

    def ready(urls: list[str]) -> None:
        _banner(settings, urls, lambda: hand_over(urls[0]))

    server = Server(settings, show_late_key=lambda _key: hand_over())
    return await serve_until_signalled(server, _show_progress(), ready)


async def _serve_by_loops(settings: Settings) -> bool:
    """Serve by several processes. Returns False as ``_serve`` does."""
    from jan.loops.questions import FirstStart, LoopReady
    from jan.loops.supervisor import Supervisor, supervise

    def hand_over(first: FirstStart, url: str = "") -> None:
        _hand_over(settings, first.admin_key, first.start_code, url)

    def ready(told: LoopReady) -> None:
        _banner(settings, list(told.urls), lambda: hand_over(told.first, told.urls[0]))

    return await supervise(Supervisor(settings, settings.server.loops, hand_over), _show_progress(), ready)


def _show_progress() -> Callable[[str, float], None]:
    """Show the progress of loading on one line of a terminal; elsewhere print a line at the beginning."""
    terminal = sys.stderr.isatty()

    def report(model: str, part: float) -> None:
        if terminal:
            say(f"loading {model} {part:4.0%}", nl=part >= 1, err=True, redraw=True)
        elif part == 0:
            say(f"loading {model} ...", err=True)

    return report


def _banner(settings: Settings, urls: list[str], hand_over: Callable[[], None]) -> None:
    say(f"Jan Server {__version__} is ready")
    for url in urls:
        if settings.has_page:
            say(f"  Page     {url}/")
        say(f"  API      {url}{settings.server.api_prefixes[0]}")
        say(f"  Swagger  {url}/api/swagger/index.html")
    for model in settings.models:
        names = ", ".join((model.id, *model.aliases))
        say(f"  Model    {names} ({model.engine}{', at first use' if model.load == 'lazy' else ''})")
    if not settings.models:
        say(f"  Model    none. {_NO_MODEL}")
    hand_over()
    say(f"  Try it   {chat_command(urls[0] + settings.server.api_prefixes[0])}")
    say("  Stop it  Ctrl-C")
    sys.stdout.flush()


def _hand_over(settings: Settings, admin_key: str | None, start_code: str | None, served_at: str) -> None:
    """Give the administrator of a first start a key and a link to sign in."""
    from jan.cli.first_key import hand_over, hand_over_link

    if admin_key is not None:
        hand_over(admin_key, Path(settings.data))
    if start_code is not None:
        hand_over_link(f"{settings.page_url(served_at)}/#start={start_code}", Path(settings.data))


@main.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def check(file: Path) -> None:
    """Check a configuration FILE as `jan serve` does. Print each mistake on a line and exit with code 1."""
    from jan.application import Server
    from jan.loops.owned_engines import OwnedEngines

    async def checked(settings: Settings) -> int:
        server = Server(settings, show_late_key=lambda _key: None)  # it is never started
        try:
            server.check()
            if settings.server.loops > 1:
                OwnedEngines(settings)
        finally:
            await server.discard()
        return len(server.routes)

    with _explained(), _settings(file) as settings:
        routes, models = asyncio.run(checked(settings)), len(settings.models)
        say(f"{file}: fine; {routes} URLs, {models} model{'' if models == 1 else 's'}")
        if not models:
            say(f"Note: {_NO_MODEL}")
        say("Not checked: whether the port is free, models load, and a store or provider elsewhere answers.")


@main.command()
@_config_option
def routes(config: Path | None) -> None:
    """Print the audit table: URL, method, access, limit class and route name."""
    from jan.routing.table import audit_table, resolve_routes

    with _explained(), _settings(config) as settings:
        rows = audit_table(resolve_routes(settings.served_routes, settings.server.api_prefixes))
    table = [("URL", "METHOD", "ACCESS", "LIMIT", "NAME"), *rows]
    widths = [max(len(row[column]) for row in table) for column in range(5)]
    for row in table:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@main.command()
@_config_option
def openapi(config: Path | None) -> None:
    """Print the OpenAPI document as JSON."""
    from jan.routing.openapi import build_document
    from jan.routing.table import resolve_routes

    with _explained(), _settings(config) as settings:
        document = build_document(resolve_routes(settings.served_routes, settings.server.api_prefixes))
    say(json.dumps(document, indent=2))

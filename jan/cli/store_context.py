"""The options and the store of the commands ``jan user``, ``jan key``, ``jan audit`` and ``jan store``."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import click

from jan.audit.acts import COMMAND_LINE, acting
from jan.cli.terminal import say
from jan.conversations import Conversations
from jan.errors import ConfigurationError, JanError, NotFound
from jan.people.assembly import People, make_keyring, make_people
from jan.people.quotas import Quotas
from jan.settings import Settings
from jan.settings.load import default_config_file, load_settings
from jan.storage import Store, store_from_url
from jan.storage.open import sqlite_file

T = TypeVar("T")


class StoreContext:
    """The options of a command and its group. An error of an action prints one line and exits with code 1."""

    def __init__(self) -> None:
        self.config: Path | None = None
        self.data: str | None = None

    def run(self, action: Callable[[People], Awaitable[T]], *, creates: bool = False) -> T:
        """Run an action on users, keys and sessions. ``creates``: make the store if there is none."""
        return self.run_on_store(lambda _store, people: action(people), creates=creates)

    def run_with_quotas(self, action: Callable[[People, Quotas], Awaitable[T]]) -> T:
        """Run an action on users and what they store."""
        return self.run_on_store(
            lambda store, people: action(people, Quotas(store, self._settings().limits.quota))
        )

    def run_with_conversations(self, action: Callable[[Conversations, People], Awaitable[T]]) -> T:
        """Run an action on users and their conversations."""

        async def run(store: Store, people: People) -> T:
            conversations = Conversations(store)
            try:
                return await action(conversations, people)
            finally:
                await conversations.close()

        return self.run_on_store(run)

    def page_url(self, given: str = "") -> str:
        """Return the URL of the web page: the given one, else the configured one. Ends the command if there is no
        page."""
        try:
            settings = self._settings()
            if not settings.has_page:
                raise ConfigurationError("endpoints.page: The web page is off, so there is nowhere to sign in.")
            return given.rstrip("/") or settings.page_url()
        except JanError as error:
            say(f"jan: {error}", err=True)
            sys.exit(1)

    def _settings(self) -> Settings:
        return load_settings(self.config or default_config_file(), data=self.data)

    def run_on_store(self, action: Callable[[Store, People], Awaitable[T]], *, creates: bool = False) -> T:
        """Run an action on the whole store. ``creates``: make the store if there is none."""

        async def main(settings: Settings) -> T:
            keyring = make_keyring(settings)
            store = store_from_url(settings.storage_url, timeout=settings.storage.timeout_seconds)
            keyring.load()  # first, because it creates the data folder, readable by its owner only
            await store.open()
            people = make_people(settings.auth, store, keyring)
            acting.set(COMMAND_LINE)
            try:
                return await action(store, people)
            finally:
                await people.audit.close()
                await store.close()

        try:
            settings = self._settings()
            folder = Path(settings.data).resolve()
            if not creates:
                _check_store(settings)
            try:
                return asyncio.run(main(settings))
            except NotFound as error:
                raise NotFound(f"{error.message} The data folder is {folder}.") from error
        except (JanError, OSError) as error:  # OSError comes from a file that can't be read or written
            say(f"jan: {error}", err=True)
            sys.exit(1)


def _check_store(settings: Settings) -> None:
    """Raise ConfigurationError if the store is a file that does not exist."""
    file = sqlite_file(settings.storage_url)
    if file is not None and not file.exists():
        raise ConfigurationError(
            f"There is no store in {file.resolve().parent}. Name the server's data folder with --data or --config."
        )


def _options(envvar: str | None) -> list[click.Parameter]:
    def keep(context: click.Context, parameter: click.Parameter, value: Path | str | None) -> None:
        context.obj = context.obj or StoreContext()
        if value is not None:
            setattr(context.obj, str(parameter.name), value)

    path = click.Path(path_type=Path, dir_okay=False)
    config = "The server's configuration file."
    return [
        click.Option(["--config"], type=path, envvar=envvar, help=config, callback=keep, expose_value=False),
        click.Option(["--data"], help="The server's data folder.", callback=keep, expose_value=False),
    ]


class _StoreGroup(click.Group):
    """Commands that take --config and --data before and after their name."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        cmd.params.extend(_options(envvar=None))
        super().add_command(cmd, name)


def store_group(name: str, help_: str) -> click.Group:
    """Make a group of commands whose context is a StoreContext."""
    return _StoreGroup(name, help=help_, params=_options(envvar="JAN_CONFIG"))

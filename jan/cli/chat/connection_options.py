"""The options of commands that ask a running server."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from jan.cli.chat import DEFAULT_URL
from jan.cli.chat.chat_connection import ChatConnection
from jan.cli.chat.chat_failures import ChatError
from jan.errors import ConfigurationError
from jan.settings.secret_files import SecretEnvironment, read_secret

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--url", default=DEFAULT_URL, show_default=True, help="The API's base URL."),
    click.option(
        "--api-key", help="Token or API key. Others see it in the list of processes: prefer JAN_API_KEY."
    ),
    click.option("--api-key-file", help="File with the key; also JAN_API_KEY_FILE."),
    click.option(
        "--ca",
        type=click.Path(path_type=Path),
        help="Certificates to trust (PEM), instead of the system's.",
    ),
)


def connection_options(command: F) -> F:
    """Give a command the options that say which server to ask, and with which key."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


class ConnectionOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Which server to ask, with which key, and which certificates to trust."""

    url: str
    api_key: str | None
    api_key_file: str | None
    ca: Path | None

    def connection(self, agent: str) -> ChatConnection:
        """Return what sends requests in the name of a program. Raises ChatError."""
        return ChatConnection(self.url, self._key(), self.ca, agent=agent)

    def _key(self) -> str | None:
        try:
            if self.api_key_file is not None:
                return read_secret(self.api_key_file, "--api-key-file")
            return self.api_key or SecretEnvironment(os.environ).get("JAN_API_KEY")
        except ConfigurationError as error:
            raise ChatError(error.message, kind="bad_key") from error

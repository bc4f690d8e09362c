"""``jan status``: the processes of a running server as a tree, with what they use."""

import sys
from typing import Any

import click

from jan.cli.chat.chat_failures import ChatError
from jan.cli.chat.connection_options import ConnectionOptions, connection_options
from jan.cli.terminal import say
from jan.schema.status import Processes, ProcessUse

_EXIT_NO_ANSWER = 1
_MEGABYTE = 1_000_000


@click.command("status")
@connection_options
def status(**server: Any) -> None:
    """Show the processes of a running server, with their CPU time and memory."""
    try:
        found = ConnectionOptions(**server).connection("jan-status").fetch(Processes, "GET", "/status/processes")
    except ChatError as error:
        say(error.line(), err=True)
        sys.exit(_EXIT_NO_ANSWER)
    for line in tree(found.processes):
        say(line)


def tree(processes: tuple[ProcessUse, ...]) -> list[str]:
    """Return a line for each process: the first one, and below it those that it has started."""
    names = [f"{one.role.replace('_', ' ')} {one.name}".strip() for one in processes]
    branches = ["", *["├─ "] * (len(processes) - 2), "└─ "][: len(processes)]
    width = max(map(len, map(str.__add__, branches, names)), default=0)
    return [
        f"{branch + name:<{width}}  pid {one.pid:<8}{_shown(one)}"
        for branch, name, one in zip(branches, names, processes, strict=True)
    ]


def _shown(one: ProcessUse) -> str:
    if one.cpu_seconds is None or one.memory_bytes is None:
        return "not told by this system"
    return f"{one.cpu_seconds:>9.1f} s CPU {one.memory_bytes / _MEGABYTE:>9.0f} MB"

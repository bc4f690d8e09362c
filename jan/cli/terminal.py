"""The one way of the commands to the terminal: nothing that is printed steers it."""

import os
from typing import TextIO

import click

from jan.schema.plain_text import tamed


def on_terminal(stream: TextIO | None) -> bool:
    """Return True for a stream of a terminal. One that was closed before the start is None."""
    return stream is not None and stream.isatty()


def say(text: str = "", *, err: bool = False, nl: bool = True, redraw: bool = False, faint: bool = False) -> None:
    """Print text. ``redraw``: over the line that the cursor is in. ``faint``: dimmed on a terminal.

    Lines and tabs stay. A name or title that others chose goes through ``printable`` first, so that it forges no
    line.
    """
    shown = tamed(text)
    if faint and shown and os.environ.get("TERM") != "dumb":
        shown = click.style(shown, dim=True)
    click.echo(("\r" if redraw else "") + shown, err=err, nl=nl)

"""The one way of the commands to the terminal: nothing that is printed steers it."""

import click

from jan.schema.plain_text import tamed


def say(text: str = "", *, err: bool = False, nl: bool = True, redraw: bool = False) -> None:
    """Print text. ``redraw``: over the line that the cursor is in.

    Lines and tabs stay. A name or title that others chose goes through ``printable`` first, so that it forges no
    line.
    """
    click.echo(("\r" if redraw else "") + tamed(text), err=err, nl=nl)

"""Reads what a person types or pastes: Enter sends, and a pasted text of many lines is one message.

The only module that imports prompt_toolkit. What was typed is kept until the chat ends, and never written to a
file.
"""

from collections.abc import Iterable

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

# Around a text of many lines, where a terminal can't tell what is pasted.
QUOTES = '"""'


class LineEditor:
    """The prompt of the chat. ``commands``: completed by Tab."""

    def __init__(self, commands: Iterable[str]) -> None:
        self._session: PromptSession[str] = PromptSession(
            multiline=True,
            key_bindings=_keys(),
            history=InMemoryHistory(),
            completer=WordCompleter([*commands], sentence=True),
            complete_while_typing=False,
            prompt_continuation="  ",
        )

    def read(self) -> str | None:
        """Return a message, without the quotes around it; None if the person leaves.

        Raises KeyboardInterrupt for Ctrl-C.
        """
        try:
            text: str = self._session.prompt("> ").strip()
        except EOFError:
            return None
        if text.startswith(QUOTES):
            text = text.removeprefix(QUOTES).removesuffix(QUOTES).strip("\n")
        return text


def _keys() -> KeyBindings:
    def send(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if _is_open(buffer.text):
            buffer.newline()
        else:
            buffer.validate_and_handle()

    def break_line(event: KeyPressEvent) -> None:
        event.current_buffer.newline(copy_margin=False)

    keys = KeyBindings()
    keys.add("enter")(send)
    keys.add("c-j")(break_line)
    keys.add("escape", "enter")(break_line)
    return keys


def _is_open(text: str) -> bool:
    """Return True for a text that begins with quotes and does not end with others."""
    text = text.strip()
    return text.startswith(QUOTES) and not (len(text) >= 2 * len(QUOTES) and text.endswith(QUOTES))

"""`jan chat` and others on a terminal of their own, as a person sees them."""

import codecs
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from types import TracebackType

from support.patience import SECONDS, kill

# Makes the terminal the process's own, so that a typed Ctrl-C is a SIGINT, and becomes the chat.
_LAUNCH = "import os, sys; os.close(os.open(os.ttyname(0), os.O_RDWR)); os.execv(sys.executable, sys.argv[1:])"
# What steers the terminal: prompt_toolkit's own sequences.
_STEERING = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[=>]")
# The prompt, whose blank is a move of the cursor.
PROMPT = ">\b$"
CTRL_C, CTRL_D, ENTER, ALT_ENTER = "\x03", "\x04", "\r", "\x1b\r"


def pasted(text: str) -> str:
    """A text as a terminal sends it when it is pasted."""
    return f"\x1b[200~{text}\x1b[201~"


class ChatTerminal:
    """A chat, or another command that asks a server. It is wide, so that what is typed is echoed as it is, unless
    ``columns`` says otherwise."""

    def __init__(
        self,
        url: str,
        *arguments: str,
        command: str = "chat",
        columns: int = 4000,
        environ: dict[str, str] | None = None,
    ) -> None:
        self._screen, own = pty.openpty()
        fcntl.ioctl(own, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        program = [sys.executable, "-m", "jan", command, "--url", url, *arguments]
        # Both would win over the size of the terminal.
        inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, *program],
            stdin=own,
            stdout=own,
            stderr=own,
            start_new_session=True,
            # No terminal answers here when it is asked for the place of its cursor.
            env={**inherited, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", **(environ or {})},
        )
        os.close(own)
        # A read may end within a character.
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        #: All that came, with what steers the terminal.
        self.raw = ""
        self._seen = 0

    def __enter__(self) -> "ChatTerminal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        kill(self._process)
        os.close(self._screen)

    def type(self, text: str) -> None:
        os.write(self._screen, text.encode())

    def ask(self, text: str) -> None:
        """Type a line at the prompt, and wait until it is sent."""
        self.expect(PROMPT)
        self.type(text + ENTER)
        self.expect(re.escape(text) + r"\s*\r\n")

    def expect(self, pattern: str) -> str:
        """Read on until the pattern is on the screen; returns what it matched."""
        deadline = time.monotonic() + SECONDS
        while (found := re.search(pattern, self._unread())) is None:
            readable, _, _ = select.select([self._screen], [], [], max(0, deadline - time.monotonic()))
            assert readable, f"no {pattern!r} in {self._unread()!r}"
            self.raw += self._read()
        self._seen += found.end()
        return found[0]

    def _unread(self) -> str:
        return _STEERING.sub("", self.raw)[self._seen :]

    def _read(self) -> str:
        try:
            return self._decode(os.read(self._screen, 65536))
        except OSError:  # the process closed its end
            raise AssertionError(f"the chat ended; unread: {self._unread()!r}") from None

    def wait(self) -> int:
        return self._process.wait(SECONDS)

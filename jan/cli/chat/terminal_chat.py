"""The chat of a person at a terminal."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress

from jan.cli.chat.answer_reader import AnswerPart
from jan.cli.chat.answer_screen import AnswerScreen, ReasoningView
from jan.cli.chat.chat_client import ChatClient
from jan.cli.chat.chat_conversation import ChatConversation
from jan.cli.chat.chat_failures import ChatError, with_offers
from jan.cli.chat.line_editor import LineEditor
from jan.cli.chat.slash_commands import SlashCommands
from jan.cli.terminal import say
from jan.schema.plain_text import printable

_LEAVE = "(/exit or Ctrl-D leaves.)"


class TerminalChat:
    """Takes turns until the person leaves."""

    def __init__(self, client: ChatClient, conversation: ChatConversation, reasoning: ReasoningView) -> None:
        self._conversation = conversation
        self._reasoning: ReasoningView = reasoning
        self._commands = SlashCommands(
            client, conversation, lambda short: self._show(lambda: conversation.retry(short=short))
        )
        self._editor = LineEditor(self._commands.names)

    def run(self) -> None:
        """Greet, then answer until the end."""
        kept = "The server keeps what you say." if self._conversation.stored else "Nothing is kept."
        say(f"Talking with {printable(self._conversation.model)}. {kept}")
        say("Enter sends, Ctrl-C stops an answer, /help shows more, /exit or Ctrl-D leaves.")
        while not self._commands.left:
            try:
                say()
                line = self._editor.read()
                if line is None:
                    return
                self._take(line)
            except KeyboardInterrupt:  # at the prompt, or just when an answer had ended
                say(_LEAVE)

    def _take(self, line: str) -> None:
        try:
            if not line or self._commands.run(line):
                return
            question = line[1:] if line.startswith("//") else line
            self._show(lambda: self._conversation.ask(question))
        except ChatError as error:
            say((with_offers(error) if error.kind == "context_length_exceeded" else error).line(), err=True)
        except KeyboardInterrupt:
            say("(stopped)")

    def _show(self, ask: Callable[[], Generator[AnswerPart, None, None]]) -> None:
        screen = AnswerScreen(self._reasoning)
        with _silent_keys(), closing(ask()) as parts:
            try:
                screen.show(parts)
            except BaseException:
                screen.end()
                raise


@contextmanager
def _silent_keys() -> Iterator[None]:
    """Don't echo keys into an answer. What is typed meanwhile is there at the next prompt, as it was typed."""
    try:
        import termios
    except ImportError:  # Windows
        yield
        return
    before = termios.tcgetattr(0)
    silent = [*before]
    silent[0] &= ~termios.ICRNL
    silent[3] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(0, termios.TCSANOW, silent)
    try:
        yield
    finally:
        with suppress(termios.error):
            termios.tcsetattr(0, termios.TCSANOW, before)

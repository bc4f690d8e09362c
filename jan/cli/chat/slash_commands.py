"""The commands of the chat: lines that begin with a slash."""

import json
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from jan.cli.chat.answer_screen import wrapped
from jan.cli.chat.chat_client import ChatClient, ListedConversation, SaidMessage
from jan.cli.chat.chat_conversation import ChatConversation
from jan.cli.chat.chat_failures import ChatError, not_stored, unknown_model
from jan.cli.chat.listed_models import described_models
from jan.cli.terminal import say
from jan.schema.plain_text import printable
from jan.schema.suggest import did_you_mean

_COMMAND = re.compile(r"/([A-Za-z]+|\?)(?:[ \t]+(.*))?")
# A page of a terminal.
LISTED = 20
_HELP = """\
Enter sends. Alt-Enter or Ctrl-J begins a new line. A pasted text is one message, and so is one within \"\"\".
Ctrl-C stops an answer. Ctrl-D leaves. A message that begins with // is sent with one slash."""


class SlashCommands:
    """Runs the commands. ``retry`` shows another answer to the last question; True: one without the oldest
    messages."""

    def __init__(self, client: ChatClient, conversation: ChatConversation, retry: Callable[[bool], None]) -> None:
        self._client = client
        self._show_retry = retry
        self._conversation = conversation
        self._listed: list[ListedConversation] = []
        #: True once the person wants to leave.
        self.left = False
        self._known: dict[str, tuple[str, str, Callable[[str], None]]] = {
            "help": ("", "shows this", self._help),
            "model": ("[NAME]", "shows the models, or asks another one from now on", self._model),
            "system": (
                "[TEXT | off]",
                "shows the instructions to the model, or begins anew with others",
                self._system,
            ),
            "retry": (
                "[short]",
                "asks the last question again; short: without the oldest messages",
                self._retry,
            ),
            "summary": ("", "begins a new conversation with a summary of this one", self._summary),
            "save": ("FILE", "writes the conversation to a new file: Markdown, or JSON for .json", self._save),
            "conversations": (
                "[NUMBER | ID]",
                "lists what the server keeps, or continues one",
                self._conversations,
            ),
            "new": ("", "begins a new conversation", self._new),
            "exit": ("", "leaves", self._exit),
        }

    @property
    def names(self) -> list[str]:
        """All commands, with their slashes."""
        return [f"/{name}" for name in self._known]

    def run(self, line: str) -> bool:
        """Run a command; return False for a line that is none. Raises ChatError."""
        found = _COMMAND.fullmatch(line)
        if found is None:
            return False
        name = {"?": "help"}.get(found[1], found[1].lower())
        if name not in self._known:
            hint = did_you_mean(f"/{name}", self.names)
            raise ChatError(f"There is no command /{name}.{hint}", "/help lists all.", kind="unknown_command")
        self._known[name][2]((found[2] or "").strip())
        return True

    def _help(self, _: str) -> None:
        shown = {f"/{name} {form}".rstrip(): what for name, (form, what, _) in self._known.items()}
        widest = max(map(len, shown))
        for form, what in shown.items():
            say(f"{form.ljust(widest)}  {what}")
        say(_HELP)

    def _model(self, name: str) -> None:
        models = self._client.models()
        there = [model.id for model in models]
        if not name:
            say("\n".join(described_models(models, self._conversation.model)))
        elif name in there:
            self._conversation.model = name
            say(f"Talking with {printable(name)}.")
        else:
            raise unknown_model(name, there)

    def _system(self, text: str) -> None:
        conversation = self._conversation
        if not text:
            say(conversation.system or "There are no instructions.")
            return
        begun = bool(conversation.said)
        conversation.begin_anew("" if text == "off" else text)
        say("A new conversation, because instructions come first." if begun else "The instructions are set.")

    def _new(self, _: str) -> None:
        self._conversation.begin_anew()
        say("A new conversation.")

    def _retry(self, how: str) -> None:
        if how not in ("", "short"):
            raise ChatError("/retry takes nothing, or short.", kind="unknown_command")
        self._show_retry(how == "short")

    def _summary(self, _: str) -> None:
        say("The model writes a summary ...")
        self._conversation.begin_with_summary()
        say("A new conversation, which begins with a summary of the last one.")
        if self._conversation.has_question:
            self._show_retry(False)

    def _exit(self, _: str) -> None:
        self.left = True

    def _save(self, name: str) -> None:
        conversation = self._conversation
        if not name:
            raise ChatError("/save needs the name of a file.", kind="no_file")
        if not conversation.said:
            raise ChatError("Nothing was said that could be saved.", kind="nothing_to_save")
        file = Path(name).expanduser()
        said = conversation.said
        if conversation.system and said[0].content != conversation.system:
            said = [SaidMessage(role="system", content=conversation.system), *said]
        text = as_json(said, conversation) if file.suffix == ".json" else as_markdown(said)
        try:
            with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as opened:
                opened.write(text)
        except OSError as error:
            raise ChatError(
                f"{file} can't be written: {error.strerror}.", "Name another file.", kind="no_file"
            ) from error
        say(f"Saved {len(said)} messages in {file}.")

    def _conversations(self, which: str) -> None:
        if not self._conversation.stored:
            raise not_stored()
        if which:
            chosen = self._listed[int(which) - 1].id if self._is_number(which) else which
            show_continued(self._conversation, self._conversation.go_to(chosen))
            return
        self._listed = self._client.conversations(LISTED)
        for number, one in enumerate(self._listed, 1):
            here = "*" if one.id == self._conversation.id else " "
            say(f"{here}{number:3}  {described(one)}")
        say("/conversations NUMBER continues one." if self._listed else "There are none yet.")

    def _is_number(self, which: str) -> bool:
        return which.isascii() and which.isdecimal() and len(which) < 9 and 0 < int(which) <= len(self._listed)


def described(conversation: ListedConversation) -> str:
    """Return a conversation as a line of a list."""
    changed = datetime.fromtimestamp(conversation.updated_at, UTC).astimezone()
    return f"{changed:%Y-%m-%d %H:%M}  {conversation.id}  {printable(conversation.title or 'Untitled')}"


def show_continued(conversation: ChatConversation, title: str) -> None:
    """Show the title of a conversation, and what was said last."""
    say(f"Continuing '{printable(title or 'Untitled')}'.")
    for message in conversation.said[-2:]:
        if message.role == "user":
            say(wrapped(f"\n> {message.content}"))
        elif message.role == "assistant":
            say(wrapped(message.content))


def as_markdown(said: list[SaidMessage]) -> str:
    """Return messages as Markdown, with who said them as headings."""
    return "\n".join(f"## {message.role.capitalize()}\n\n{message.content}\n" for message in said)


def as_json(said: list[SaidMessage], conversation: ChatConversation) -> str:
    """Return messages as JSON, in the form of a request's messages."""
    messages = [{"role": message.role, "content": message.content} for message in said]
    whole = {"model": conversation.model, "conversation_id": conversation.id or None, "messages": messages}
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"

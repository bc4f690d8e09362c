"""The command ``jan chat``: its options, and which kind of chat they ask for."""

import json
import sys
from contextlib import closing
from typing import Any

import click
import msgspec

from jan.cli.chat.answer_screen import ReasoningView
from jan.cli.chat.chat_client import ChatClient, ChatSampling
from jan.cli.chat.chat_conversation import ChatConversation
from jan.cli.chat.chat_failures import ChatError, not_stored
from jan.cli.chat.connection_options import ConnectionOptions, connection_options
from jan.cli.chat.piped_question import answer_as_json, answer_question, read_question
from jan.cli.chat.slash_commands import LISTED, described, show_continued
from jan.cli.terminal import on_terminal, say

_EXIT_NO_ANSWER = 1
_EXIT_INTERRUPTED = 130


@click.command()
@connection_options
@click.option("--model", help="Model id; the default is the server's first.")
@click.option("--system", help="Instructions to the model.")
@click.option(
    "--temperature",
    type=click.FloatRange(0, 2),
    default=0.6,
    show_default=True,
    help="Randomness. Small models lose the thread when it is high and repeat themselves when it is low.",
)
@click.option("--max-tokens", type=click.IntRange(min=1), help="Most tokens of an answer.")
@click.option(
    "--reasoning",
    type=click.Choice(["show", "fold", "hide"]),
    default="show",
    show_default=True,
    help="What a terminal shows of the model's reasoning; fold: how long it takes.",
)
@click.option("--continue", "latest", is_flag=True, help="Continue the conversation that was changed last.")
@click.option("--conversation", "conversation_id", help="Continue the conversation with this id.")
@click.option("--list", "listing", is_flag=True, help=f"List the {LISTED} conversations that were changed last.")
@click.option("--temporary", is_flag=True, help="Keep nothing on the server.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and errors as JSON.")
def chat(**options: Any) -> None:
    """Talk with a model of a running server.

    On a terminal it is a conversation. Otherwise standard input is one question, and the answer is printed.
    """
    sys.exit(_ChatRun(_ChatOptions(**options)).code())


class _ChatOptions(ConnectionOptions, frozen=True, kw_only=True):
    """The options of the command."""

    model: str | None
    system: str | None
    temperature: float
    max_tokens: int | None
    reasoning: ReasoningView
    latest: bool
    conversation_id: str | None
    listing: bool
    temporary: bool
    as_json: bool

    @property
    def continues(self) -> bool:
        """True if a conversation is continued."""
        return self.latest or self.conversation_id is not None

    def check(self) -> None:
        """Raise UsageError for options that exclude each other."""
        if [self.latest, self.conversation_id is not None, self.listing, self.temporary].count(True) > 1:
            raise click.UsageError(
                "Too many options; allowed: one of --continue, --conversation, --list and --temporary."
            )
        if self.continues and self.system is not None:
            raise click.UsageError("--system is for new conversations. One that is continued has its own.")

    def client(self) -> ChatClient:
        """Return what asks the server. Raises ChatError."""
        sampling = ChatSampling(temperature=self.temperature, max_tokens=self.max_tokens)
        return ChatClient(self.connection("jan-chat"), sampling)


class _ChatRun:
    """One call of the command."""

    def __init__(self, options: _ChatOptions) -> None:
        options.check()
        self._options = options

    def code(self) -> int:
        """Chat, and return the exit code."""
        try:
            self._run(self._options.client())
        except ChatError as error:
            say(error.as_json() if self._options.as_json else error.line(), err=True)
            return _EXIT_NO_ANSWER
        except KeyboardInterrupt:
            return _EXIT_INTERRUPTED
        return 0

    def _run(self, client: ChatClient) -> None:
        options = self._options
        if options.listing:
            self._list(client)
            return
        person = on_terminal(sys.stdin) and on_terminal(sys.stdout) and not options.as_json
        question = "" if person else read_question()
        with closing(self._conversation(client)) as conversation:
            title = self._continued(client, conversation)
            if person:
                from jan.cli.chat.terminal_chat import TerminalChat

                if title is not None:
                    show_continued(conversation, title)
                TerminalChat(client, conversation, options.reasoning).run()
            elif options.as_json:
                answer_as_json(conversation, question)
            else:
                answer_question(conversation, question, options.reasoning)

    def _conversation(self, client: ChatClient) -> ChatConversation:
        options = self._options
        model = client.choose(options.model)
        stored = not options.temporary and client.keeps_conversations()
        if options.continues and not stored:
            raise not_stored()
        return ChatConversation(client, model, system=options.system or "", stored=stored)

    def _continued(self, client: ChatClient, conversation: ChatConversation) -> str | None:
        """Go to the conversation to continue and return its title; None for a new one. Raises ChatError."""
        options = self._options
        if not options.continues:
            return None
        chosen = options.conversation_id
        if chosen is None:
            found = client.conversations(1)
            if not found:
                raise ChatError("There is no conversation to continue.", kind="no_conversation")
            chosen = found[0].id
        return conversation.go_to(chosen, keep_model=options.model is not None)

    def _list(self, client: ChatClient) -> None:
        client.models()  # Says so if the URL or the key is wrong.
        if not client.keeps_conversations():
            raise not_stored()
        found = client.conversations(LISTED)
        if self._options.as_json:
            say(json.dumps({"data": msgspec.to_builtins(found)}))
            return
        for one in found:
            say(described(one))

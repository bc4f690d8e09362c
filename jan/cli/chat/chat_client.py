"""Asks a server for models, conversations and answers."""

from collections.abc import Generator, Iterator
from contextlib import suppress
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import msgspec

from jan.cli.chat.answer_reader import AnswerPart, read_answer
from jan.cli.chat.chat_connection import ChatConnection
from jan.cli.chat.chat_failures import ChatError, unknown_model
from jan.cli.chat.listed_models import ListedModel, ListedModels
from jan.cli.chat.resumed_answer import ResumedAnswer

_PAGE = 100
# What requests for responses call otherwise.
_RESPONSE_NAMES = MappingProxyType({"max_tokens": "max_output_tokens"})


class SaidMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message of a conversation. ``id``: that of the stored message; '' if it is not stored."""

    role: str
    content: str
    id: str = ""


class ListedConversation(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation that the server keeps. ``updated_at``: in seconds since 1970."""

    id: str
    title: str = ""
    updated_at: float = 0
    message_count: int = 0
    model: str | None = None
    head_id: str | None = None


class _Conversations(msgspec.Struct, frozen=True):
    data: list[ListedConversation]


class _Part(msgspec.Struct, frozen=True):
    text: str = ""


class _Node(msgspec.Struct, frozen=True):
    id: str
    parent_id: str | None
    role: str
    content: str | list[_Part] | None = None


class _Nodes(msgspec.Struct, frozen=True):
    data: list[_Node]
    has_more: bool = False
    next_cursor: str | None = None


class _Compacted(msgspec.Struct, frozen=True):
    output: list[dict[str, Any]]


class ChatSampling(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How answers are sampled, as requests name it."""

    temperature: float | None = None
    max_tokens: int | None = None


class ChatClient:
    """The requests of a chat. All methods raise ChatError."""

    def __init__(self, connection: ChatConnection, sampling: ChatSampling) -> None:
        self._connection = connection
        self._sampling = msgspec.to_builtins(sampling)

    @property
    def url(self) -> str:
        """The API's base URL."""
        return self._connection.url

    def models(self) -> list[ListedModel]:
        """List the models that answer in words."""
        listed = self._connection.fetch(ListedModels, "GET", "/models")
        return [model for model in listed.data if "text" in model.modalities.output]

    def choose(self, wanted: str | None) -> str:
        """Return the name of the model that is wanted, or of the first."""
        there = [model.id for model in self.models()]
        if not there:
            raise ChatError(
                "The server has no model that chats.", "Add one to its configuration.", kind="no_model"
            )
        if wanted is not None and wanted not in there:
            raise unknown_model(wanted, there)
        return wanted or there[0]

    def keeps_conversations(self) -> bool:
        """Return True if the server keeps conversations for whom the key belongs to."""
        if not self._connection.has_key:
            return False
        try:
            self.conversations(1)
        except ChatError as error:
            # No user, a key without the permission, or another server.
            if error.status in (401, 403, 404, 405):
                return False
            raise
        return True

    def conversations(self, count: int) -> list[ListedConversation]:
        """List conversations, the last changed first."""
        return self._connection.fetch(_Conversations, "GET", f"/conversations?limit={count}").data

    def conversation(self, conversation_id: str) -> tuple[ListedConversation, list[SaidMessage]]:
        """Return a conversation, and its messages from the root down to the message appended last."""
        place = f"/conversations/{quote(conversation_id, safe='')}"
        found = self._connection.fetch(ListedConversation, "GET", place)
        return found, self._path(place, found.head_id)

    def _path(self, place: str, head: str | None) -> list[SaidMessage]:
        path: list[SaidMessage] = []
        for node in self._newest_first(place):
            if head is None:
                break
            if node.id == head:
                path.append(SaidMessage(role=node.role, content=_text(node), id=node.id))
                head = node.parent_id
        return path[::-1]

    def _newest_first(self, place: str) -> Iterator[_Node]:
        cursor: str | None = ""
        while cursor is not None:
            query = f"?order=desc&limit={_PAGE}" + (f"&cursor={quote(cursor, safe='')}" if cursor else "")
            page = self._connection.fetch(_Nodes, "GET", f"{place}/messages{query}")
            yield from page.data
            cursor = page.next_cursor

    def begin_conversation(self, model: str) -> str:
        """Make a conversation and return its id."""
        return self._connection.fetch(ListedConversation, "POST", "/conversations", {"model": model}).id

    def forget_conversation(self, conversation_id: str) -> None:
        """Delete a conversation that nothing was said in."""
        with (
            suppress(ChatError),
            self._connection.open("DELETE", f"/conversations/{quote(conversation_id, safe='')}"),
        ):
            pass

    def response(self, body: dict[str, object], question_id: str) -> Generator[AnswerPart, None, None]:
        """Yield the parts of the answer to a request for a response. One that is made in the background goes on
        after a connection that breaks. Closing the generator stops the answer at the server."""
        sampling = {_RESPONSE_NAMES.get(name, name): value for name, value in self._sampling.items()}
        yield from ResumedAnswer(self._connection, {**sampling, **body}, question_id).parts()

    def summary(self, model: str, messages: list[dict[str, str]]) -> dict[str, Any]:
        """Return an item of the Responses API with a summary of messages, which the model writes. Only the server
        can read it."""
        body = {"model": model, "input": messages}
        compacted = self._connection.fetch(_Compacted, "POST", "/responses/compact", body)
        return next(item for item in reversed(compacted.output) if item.get("type") == "compaction")

    def answer(self, body: dict[str, object]) -> Generator[AnswerPart, None, None]:
        """Yield the parts of the answer to a request. Closing the generator stops the answer at the server."""
        asked = {**self._sampling, "stream": True, "stream_options": {"include_usage": True}, **body}
        with self._connection.open("POST", "/chat/completions", asked) as response:
            yield from read_answer(response)


def _text(node: _Node) -> str:
    content = node.content or ""
    return content if isinstance(content, str) else "".join(part.text for part in content)

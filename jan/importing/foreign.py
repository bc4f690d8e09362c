"""Conversations of other applications before they become records, and notes about what is left out."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from jan.schema.import_reports import SkippedItem
from jan.storage.records import MessageRole

JsonObject = dict[str, Any]
#: What an imported message says that had nothing but files.
NO_TEXT = "[This message had files only. They were not imported.]"
# Later times are milliseconds: this is the year 5138 in seconds, and 1973 in milliseconds.
_MOST_SECONDS = 1e11
_BACKTICKS = re.compile("`{3,}")
_LATEST = 253_402_300_799
_ROLES: Mapping[str, MessageRole] = {
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "developer",
    "tool": "tool",
}


class ForeignMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message of another application.

    ``calls`` are as in chat completions. The result of a tool has the ``call_id`` of its call.
    """

    role: MessageRole
    text: str = ""
    reasoning: str = ""
    calls: tuple[JsonObject, ...] = ()
    call_id: str | None = None
    model: str | None = None
    at: datetime | None = None


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """The place of a message in its tree. Without a message, its children belong below its parent.

    ``reasoning`` of a node without message is that of the answer below it.
    """

    id: str
    parent: str | None
    message: ForeignMessage | None = None
    reasoning: str = ""


class Foreign(msgspec.Struct, kw_only=True):
    """A conversation of another application. ``current``: the id of the node that is shown last.

    ``system``: instructions that hold for all of it. ``pinned``, ``archived``, ``folder``: where it is kept there.
    """

    id: str
    title: str = ""
    model: str | None = None
    system: str = ""
    nodes: list[Node]
    current: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    pinned: bool = False
    archived: bool = False
    folder: str = ""


class Notes:
    """Notes about what was left out of one conversation."""

    def __init__(self) -> None:
        self.conversation = ""
        self.conversation_id: str | None = None
        self.skipped: list[SkippedItem] = []

    def skip(self, reason: str, message_id: str | None = None) -> None:
        """Note what is left out of a message, or a whole message, and why."""
        self.skipped.append(self.item(reason, message_id))

    def item(self, reason: str, message_id: str | None = None) -> SkippedItem:
        """Make a note about this conversation."""
        return SkippedItem(
            conversation=self.conversation,
            conversation_id=self.conversation_id,
            message_id=None if message_id is None else message_id[:128],
            reason=reason,
        )


class Unreadable(Exception):
    """A conversation that can't be imported. Its text says why, in a sentence."""


def role_of(name: object) -> MessageRole | None:
    """Return the role that a name stands for; None if there is no such role."""
    return _ROLES.get(name) if isinstance(name, str) else None


def text_of(value: object) -> str:
    """Return a text, "" for anything else."""
    return value if isinstance(value, str) else ""


def name_of(value: object) -> str | None:
    """Return a name or id; None if there is none."""
    if isinstance(value, str):
        return value or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def object_of(value: object) -> JsonObject:
    """Return an object, an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def objects_of(value: object) -> list[JsonObject]:
    """Return the objects in a list, and nothing else of it."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def moment_of(value: object) -> datetime | None:
    """Return a time given in seconds or milliseconds since 1970 or by ISO 8601; None if it is none."""
    if isinstance(value, str):
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            return None
        found = found if found.tzinfo else found.replace(tzinfo=UTC)
        return found if datetime(1970, 1, 2, tzinfo=UTC) < found < datetime(9999, 12, 30, tzinfo=UTC) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1000 * _LATEST:
        return None  # an integer of JSON may be too large for a float
    return datetime.fromtimestamp(value / 1000 if value > _MOST_SECONDS else value, UTC)


def with_file(text: str, name: str, content: str) -> str:
    """Return a message's text with the text of a file that was attached to it."""
    fence = "`" * max((len(run) + 1 for run in _BACKTICKS.findall(content)), default=3)
    return f"{text}\n\n{name or 'Attached file'}:\n\n{fence}\n{content}\n{fence}".lstrip()


def function_call(call_id: str, name: object, arguments: object) -> JsonObject:
    """Return a call of a function in the form of chat completions."""
    if not isinstance(arguments, str):
        arguments = msgspec.json.encode({} if arguments is None else arguments).decode()
    return {"id": call_id, "type": "function", "function": {"name": text_of(name), "arguments": arguments}}


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A part of an answer that thinks, says something, calls a tool, or is given a tool's result."""

    reasoning: str = ""
    text: str = ""
    call: JsonObject | None = None
    result: str | None = None
    call_id: str | None = None


def nodes_of_steps(
    node_id: str,
    parent: str | None,
    steps: Sequence[Step],
    *,
    model: str | None,
    at: datetime | None,
    notes: Notes,
) -> list[Node]:
    """Return an answer as messages below each other: what it says up to its calls, their results, and so on.

    The last one has ``node_id``, so that what follows the answer is below it.
    """
    said = _Said(notes, node_id)
    for step in steps:
        said.add(step)
    said.finish()
    messages = [msgspec.structs.replace(one, model=model, at=at) for one in said.messages]
    ids = [*(f"{node_id}/{number}" for number in range(1, len(messages))), node_id]
    parents = [parent, *ids]
    return [
        Node(id=own, parent=above, message=message)
        for own, above, message in zip(ids, parents, messages, strict=False)
    ]


class _Said:
    """The messages that an answer's steps become."""

    def __init__(self, notes: Notes, node_id: str) -> None:
        self.messages: list[ForeignMessage] = []
        self._notes, self._node_id = notes, node_id
        self._open: dict[str, None] = {}  # calls without a result, in order
        self._reasoning: list[str] = []
        self._text: list[str] = []
        self._calls: list[JsonObject] = []

    def add(self, step: Step) -> None:
        if step.result is not None:
            self._add_result(step.result, step.call_id)
            return
        if (step.text or step.reasoning) and self._calls:
            self._end_message()
        self._reasoning += [step.reasoning] if step.reasoning else []
        self._text += [step.text] if step.text else []
        if step.call is not None:
            self._calls.append(step.call)
            self._open[step.call["id"]] = None

    def finish(self) -> None:
        if self._reasoning or self._text or self._calls or not self.messages:
            self._end_message()

    def _add_result(self, result: str, call_id: str | None) -> None:
        if call_id not in self._open:
            call_id = next(iter(self._open), None) if call_id is None else None
        if call_id is None:
            self._notes.skip("The result of a tool has no call before it.", self._node_id)
            return
        if self._calls:
            self._end_message()
        del self._open[call_id]
        self.messages.append(ForeignMessage(role="tool", text=result, call_id=call_id))

    def _end_message(self) -> None:
        self.messages.append(
            ForeignMessage(
                role="assistant",
                reasoning="\n\n".join(self._reasoning),
                text="\n\n".join(self._text),
                calls=tuple(self._calls),
            )
        )
        self._reasoning, self._text, self._calls = [], [], []

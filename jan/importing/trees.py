"""Makes records of a conversation of another application: parents first, the message that is shown at the end."""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from hashlib import sha256

import msgspec

from jan.errors import InvalidRequest
from jan.importing.foreign import Foreign, ForeignMessage, Node, Notes, Unreadable
from jan.schema.plain_text import cleaned
from jan.schema.stored_items import items_made_of
from jan.storage.records import ConversationRecord, MessageRecord, now

#: Raises InvalidRequest for a message that no model could get.
Check = Callable[[MessageRecord], object]

_LONGEST_TITLE, _LONGEST_FOLDER, _LONGEST_MODEL, _LONGEST_ID = 200, 100, 128, 128
_SYSTEM = "system"
_THOUGHT = re.compile(r"\s*<think>(.*?)</think>\s*", re.DOTALL)
_MEDIA = re.compile(r"data:(?:[a-z]{1,20}/[\w.+-]{1,80};base64,[A-Za-z0-9+/=]{100,}|,)")
_FIRST = datetime.min.replace(tzinfo=UTC)


def records_of(
    foreign: Foreign, origin: str, user_id: str, check: Check, notes: Notes
) -> tuple[ConversationRecord, list[MessageRecord]]:
    """Return the records of a conversation. Raises Unreadable if no message of it can be kept."""
    at = now()
    times = [node.message.at for node in foreign.nodes if node.message is not None and node.message.at]
    created = min(foreign.created_at or min(times, default=at), at)
    tree = _Tree(foreign, created, check, notes)
    messages = tree.records()
    if not messages:
        raise Unreadable("It has no message that can be imported.")
    conversation = ConversationRecord(
        user_id=user_id,
        origin=origin,
        title=_shortened(foreign.title, _LONGEST_TITLE),
        model=_model(foreign.model) or next((one.model for one in reversed(messages) if one.model), None),
        created_at=created,
        updated_at=max(created, min(foreign.updated_at or max(times, default=created), at)),
        pinned=foreign.pinned,
        archived=foreign.archived,
        folder=_shortened(foreign.folder, _LONGEST_FOLDER),
    )
    return conversation, messages


def origin_of(kind: str, own_id: str, data: bytes) -> str:
    """Return the origin of a conversation: the application and its id there, or a hash if it has none."""
    fits = own_id and len(own_id) <= _LONGEST_ID and own_id == cleaned(own_id)
    return f"{kind}:{own_id if fits else sha256(own_id.encode() or data).hexdigest()}"


def _shortened(text: str, length: int) -> str:
    return " ".join(cleaned(text[: 8 * length]).split())[:length].strip()


def _model(name: str | None) -> str | None:
    return _shortened(name or "", _LONGEST_MODEL) or None


class _Tree:
    """The nodes of a conversation, by id, and the records of those that are kept."""

    def __init__(self, foreign: Foreign, created: datetime, check: Check, notes: Notes) -> None:
        self._foreign = foreign
        self._created = created
        self._check = check
        self._notes = notes
        self._nodes = self._by_id(foreign.nodes)
        self._kept: dict[str, MessageRecord] = {}
        # The nearest kept message at or above a node, and reasoning that waits for the answer below it.
        self._nearest: dict[str, str | None] = {}
        self._waiting: dict[str, list[str]] = {}

    def records(self) -> list[MessageRecord]:
        """Return the records, numbered."""
        if self._foreign.system.strip():
            self._keep(Node(id=_SYSTEM, parent=None), ForeignMessage(role="system", text=self._foreign.system))
        for node in self._in_order():
            self._add(node)
        for node_id in self._waiting:
            self._notes.skip("Its reasoning has no answer.", node_id)
        ordered = list(self._kept.values())
        current = self._nearest.get(self._foreign.current or "")
        if current is not None and all(one.parent_id != current for one in ordered):
            ordered.remove(shown := self._kept[current])
            ordered.append(shown)
        return [msgspec.structs.replace(one, sequence=number) for number, one in enumerate(ordered, 1)]

    def _by_id(self, nodes: Iterable[Node]) -> Mapping[str, Node]:
        found: dict[str, Node] = {}
        for node in nodes:
            if node.id in found:
                self._notes.skip("An earlier message has the same id.", node.id)
            else:
                found[node.id] = node
        return found

    def _in_order(self) -> Iterable[Node]:
        """Yield the nodes by time, each after its parent. Nodes that are their own ancestors are left out."""
        done: set[str] = set()
        for node in sorted(self._nodes.values(), key=lambda one: (one.message and one.message.at) or _FIRST):
            above: dict[str, Node] = {}
            climbing: Node | None = node
            while climbing is not None and climbing.id not in done and climbing.id not in above:
                above[climbing.id] = climbing
                climbing = self._nodes.get(climbing.parent or "")
            done.update(above)
            if climbing is not None and climbing.id in above:
                for one in above.values():
                    self._notes.skip("It is below itself.", one.id)
                continue
            yield from reversed(above.values())

    def _add(self, node: Node) -> None:
        self._nearest[node.id] = self._nearest.get(node.parent or "", self._root)
        message = node.message
        if message is not None and message.role != "assistant":
            self._keep(node, message)
            return
        # The list goes on to the node below: a chain of thoughts is joined once.
        thoughts = self._waiting.pop(node.parent or "", [])
        if message is None:
            thoughts += [node.reasoning] if node.reasoning else []
            if thoughts:
                self._waiting[node.id] = thoughts
        else:
            both = "\n\n".join(filter(None, (*thoughts, message.reasoning)))
            self._keep(node, msgspec.structs.replace(message, reasoning=both))

    @property
    def _root(self) -> str | None:
        return _SYSTEM if _SYSTEM in self._kept and _SYSTEM not in self._nodes else None

    def _keep(self, node: Node, message: ForeignMessage) -> None:
        """Make a record of a message, unless it says nothing or no model could get it."""
        text, reasoning = self._text(node, message), message.reasoning
        if message.role == "assistant" and (thought := _THOUGHT.match(text)):
            reasoning, text = reasoning or thought[1].strip(), text[thought.end() :]
        if not (text.strip() or reasoning or message.calls or message.role == "tool"):
            self._notes.skip("It is empty.", node.id)
            return
        at = min(message.at or self._created, now())
        record = MessageRecord(
            id=node.id,
            conversation_id="",
            parent_id=self._nearest.get(node.id),
            role=message.role,
            items=items_made_of(
                None if message.calls and not text else text,
                reasoning=reasoning or None,
                tool_calls=list(message.calls) or None,
                tool_call_id=message.call_id,
                is_result=message.role == "tool",
            ),
            model=_model(message.model),
            created_at=at,
            updated_at=at,
        )
        try:
            self._check(record)
        except InvalidRequest as error:
            self._notes.skip(error.message, node.id)
            return
        self._kept[node.id] = record
        self._nearest[node.id] = node.id

    def _text(self, node: Node, message: ForeignMessage) -> str:
        if "data:" not in message.text:
            return message.text
        text, count = _MEDIA.subn("data:,", message.text)
        if count:
            self._notes.skip("A file within its text was not imported.", node.id)
        return text

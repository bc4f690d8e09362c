"""ChatGPT: conversations.json of its data export. A conversation is a tree of nodes in ``mapping``.

An answer is a chain of nodes: thoughts, calls of tools, their results, the text.
"""

from jan.importing.foreign import (
    NO_TEXT,
    Foreign,
    ForeignMessage,
    JsonObject,
    Node,
    Notes,
    moment_of,
    name_of,
    object_of,
    objects_of,
    role_of,
    text_of,
)

# Contents that say how long the model thought, or repeat what a person set elsewhere.
_SILENT = ("reasoning_recap", "model_editable_context")
# Results of one call that follow each other.
_MOST_RESULTS = 100


def is_chatgpt(found: JsonObject) -> bool:
    """Return True for a conversation of ChatGPT."""
    return isinstance(found.get("mapping"), dict)


def read_chatgpt(found: JsonObject, notes: Notes) -> Foreign:
    """Read a conversation of ChatGPT."""
    mapping = {key: object_of(value) for key, value in object_of(found.get("mapping")).items()}
    reader = _Reader(mapping, notes)
    return Foreign(
        id=text_of(found.get("conversation_id")) or text_of(found.get("id")),
        title=text_of(found.get("title")),
        model=name_of(found.get("default_model_slug")),
        nodes=[reader.node(key) for key in mapping],
        current=name_of(found.get("current_node")),
        created_at=moment_of(found.get("create_time")),
        updated_at=moment_of(found.get("update_time")),
        pinned=found.get("is_starred") is True or moment_of(found.get("pinned_time")) is not None,
        archived=found.get("is_archived") is True,
    )


class _Reader:
    def __init__(self, mapping: dict[str, JsonObject], notes: Notes) -> None:
        self._mapping = mapping
        self._notes = notes

    def node(self, key: str) -> Node:
        """Return a node of the tree. Those that say nothing have no message."""
        parent = name_of(self._mapping[key].get("parent"))
        message = object_of(self._mapping[key].get("message"))
        content = object_of(message.get("content"))
        kind = text_of(content.get("content_type"))
        if not message or kind in _SILENT:
            return Node(id=key, parent=parent)
        if kind == "thoughts":
            return Node(id=key, parent=parent, reasoning=_thoughts(content))
        return Node(id=key, parent=parent, message=self._message(key, message, content))

    def _message(self, key: str, message: JsonObject, content: JsonObject) -> ForeignMessage | None:
        name = object_of(message.get("author")).get("role")
        role = role_of(name)
        text, left_out = _text(content)
        if object_of(message.get("metadata")).get("is_visually_hidden_from_conversation") is True:
            if text.strip() or role == "user":
                self._notes.skip("ChatGPT does not show this message.", key)
            return None
        if left_out:
            self._notes.skip(f"It has {left_out}, which were not imported.", key)
        if role is None:
            self._notes.skip(f"Messages of {str(name)[:64]!r} are not kept.", key)
            return None
        recipient = text_of(message.get("recipient")) or "all"
        if role == "tool" and (call := self._call_above(key)) is None:
            self._notes.skip("The result of a tool has no call before it.", key)
            return None
        if not text.strip() and role != "tool":
            if not left_out:
                return None
            text = NO_TEXT
        called = role == "assistant" and recipient != "all"
        return ForeignMessage(
            role=role,
            text="" if called else text,
            calls=({"id": key, "type": "custom", "custom": {"name": recipient, "input": text}},) if called else (),
            call_id=call if role == "tool" else None,
            model=name_of(object_of(message.get("metadata")).get("model_slug")),
            at=moment_of(message.get("create_time")),
        )

    def _call_above(self, key: str) -> str | None:
        """Return the id of the call that a result belongs to: the nearest assistant's message above it, past other
        results."""
        above = name_of(self._mapping[key].get("parent"))
        for _ in range(_MOST_RESULTS):
            if above not in self._mapping:
                return None
            message = object_of(self._mapping[above].get("message"))
            role = object_of(message.get("author")).get("role")
            if role == "assistant" and (text_of(message.get("recipient")) or "all") != "all":
                return above if _text(object_of(message.get("content")))[0].strip() else None
            if role not in ("tool", "system", None):
                return None
            above = name_of(self._mapping[above].get("parent"))
        return None


def _thoughts(content: JsonObject) -> str:
    thoughts = objects_of(content.get("thoughts"))
    said = [(text_of(one.get("summary")), text_of(one.get("content"))) for one in thoughts]
    return "\n\n".join("\n".join(filter(None, pair)) for pair in said if any(pair))


def _text(content: JsonObject) -> tuple[str, str]:
    """Return the text of a content, and in words what else it has."""
    parts = content.get("parts")
    if not isinstance(parts, list):
        text = text_of(content.get("text")) or text_of(content.get("result"))
        return text, ""
    texts = [one if isinstance(one, str) else text_of(object_of(one).get("text")) for one in parts]
    others = [object_of(one) for one in parts if not isinstance(one, str) and not object_of(one).get("text")]
    kinds = sorted({text_of(one.get("content_type")).replace("_", " ")[:64] or "unknown parts" for one in others})
    return "\n".join(filter(None, texts)), ", ".join(kinds)

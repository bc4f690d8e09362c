"""LM Studio: a file for each conversation. A message has versions; what follows it belongs to the selected one."""

from collections.abc import Iterator
from hashlib import sha256

from jan.importing.foreign import (
    NO_TEXT,
    Foreign,
    ForeignMessage,
    JsonObject,
    Node,
    Notes,
    Step,
    function_call,
    moment_of,
    name_of,
    nodes_of_steps,
    object_of,
    objects_of,
    role_of,
    text_of,
)

# Steps that say how an answer came about.
_SILENT = ("debugInfoBlock", "toolStatus", "status")


def is_lm_studio(found: JsonObject) -> bool:
    """Return True for a conversation of LM Studio."""
    messages = found.get("messages")
    if not isinstance(messages, list):
        return False
    return any("versions" in one for one in objects_of(messages)) or (not messages and "createdAt" in found)


def read_lm_studio(found: JsonObject, notes: Notes) -> Foreign:
    """Read a conversation of LM Studio."""
    nodes: list[Node] = []
    parent: str | None = None
    for number, message in enumerate(objects_of(found.get("messages")), 1):
        versions = objects_of(message.get("versions"))
        chosen = message.get("currentlySelected")
        chosen = chosen if isinstance(chosen, int) and 0 <= chosen < len(versions) else len(versions) - 1
        for place, version in enumerate(versions):
            nodes += _nodes(f"{number}.{place}", parent, version, notes)
        if versions:
            parent = f"{number}.{chosen}"
        else:
            notes.skip("It has no versions.", str(number))
    return Foreign(
        id=_id(found, nodes),
        title=text_of(found.get("name")),
        model=name_of(object_of(found.get("lastUsedModel")).get("identifier")),
        system=text_of(found.get("systemPrompt")),
        nodes=nodes,
        current=parent,
        created_at=moment_of(found.get("createdAt")),
        pinned=found.get("pinned") is True,
        updated_at=moment_of(found.get("assistantLastMessagedAt")) or moment_of(found.get("userLastMessagedAt")),
    )


def _id(found: JsonObject, nodes: list[Node]) -> str:
    """Make an id of the time and the first message, because the file has none. Both stay while it grows."""
    created = name_of(found.get("createdAt"))
    first = nodes[0].message if nodes else None
    if created is None or first is None:
        return ""
    return f"{created}-{sha256(first.text.encode()).hexdigest()[:16]}"


def _nodes(key: str, parent: str | None, version: JsonObject, notes: Notes) -> list[Node]:
    role = role_of(version.get("role"))
    parts = objects_of(version.get("content"))
    steps = objects_of(version.get("steps"))
    if role == "assistant":
        model = name_of(object_of(version.get("senderInfo")).get("senderName"))
        taken = list(_steps(key, steps or [{"type": "contentBlock", "content": parts}], notes))
        return nodes_of_steps(key, parent, taken, model=model, at=None, notes=notes)
    if role is None or role == "tool":
        notes.skip(f"Messages of {str(version.get('role'))[:64]!r} are not kept.", key)
        return [Node(id=key, parent=parent)]
    for step in steps:
        parts += objects_of(step.get("content"))
    texts = [text_of(part.get("text")) for part in parts if part.get("type") == "text"]
    for part in parts:
        if part.get("type") != "text":
            name = text_of(part.get("name")) or text_of(part.get("fileIdentifier")) or text_of(part.get("type"))
            notes.skip(f"The file {name[:128]!r} is not in the export.", key)
    text = "\n\n".join(filter(None, texts)) or (NO_TEXT if parts else "")
    return [Node(id=key, parent=parent, message=ForeignMessage(role=role, text=text))]


def _steps(key: str, steps: list[JsonObject], notes: Notes) -> Iterator[Step]:
    for step in steps:
        if step.get("type") in _SILENT:
            continue
        thinks = object_of(step.get("style")).get("type") == "thinking"
        for number, part in enumerate(objects_of(step.get("content")), 1):
            kind, text = part.get("type"), text_of(part.get("text"))
            if kind == "text":
                yield Step(reasoning=text) if thinks else Step(text=text)
            elif kind == "toolCallRequest":
                own = name_of(part.get("toolCallRequestId")) or name_of(part.get("callId")) or f"{key}/{number}"
                yield Step(call=function_call(own, part.get("name"), part.get("parameters")))
            elif kind == "toolCallResult":
                content = part.get("content")
                result = content if isinstance(content, str) else _joined(content)
                yield Step(result=result, call_id=name_of(part.get("toolCallId")))
            else:
                notes.skip(f"A part of type {str(kind)[:64]!r} was not imported.", key)


def _joined(content: object) -> str:
    return "\n".join(filter(None, (text_of(part.get("text")) for part in objects_of(content))))

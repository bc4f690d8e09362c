"""LibreChat: the export of a conversation as JSON, flat or recursive. Messages name their parents."""

from collections.abc import Iterator

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
    text_of,
)

_NO_PARENT = "00000000-0000-0000-0000-000000000000"


def is_librechat(found: JsonObject) -> bool:
    """Return True for a conversation of LibreChat."""
    there = isinstance(found.get("messages"), list) or isinstance(found.get("messagesTree"), list)
    return "conversationId" in found and there


def read_librechat(found: JsonObject, notes: Notes) -> Foreign:
    """Read a conversation of LibreChat."""
    options = object_of(found.get("options"))
    nodes: list[Node] = []
    times = []
    before: str | None = None
    for above, message in _flat(objects_of(found.get("messagesTree") or found.get("messages"))):
        key = name_of(message.get("messageId")) or f"message {len(nodes) + 1}"
        named = name_of(message.get("parentMessageId")) if "parentMessageId" in message else (above or before)
        at = moment_of(message.get("createdAt"))
        times += [at] if at else []
        nodes += _nodes(key, None if named == _NO_PARENT else named, message, notes)
        before = key
    return Foreign(
        id=text_of(found.get("conversationId")),
        title=text_of(found.get("title")),
        model=name_of(options.get("model")),
        system=text_of(options.get("promptPrefix")) or text_of(options.get("system")),
        nodes=nodes,
        created_at=min(times, default=None),
        updated_at=max(times, default=None),
        pinned=True in (found.get("pinned"), options.get("pinned")),
        archived=True in (found.get("isArchived"), options.get("isArchived")),
    )


def _flat(tree: list[JsonObject]) -> Iterator[tuple[str | None, JsonObject]]:
    """Yield messages, each after the one above it, with the id of that one."""
    waiting: list[tuple[str | None, JsonObject]] = [(None, one) for one in reversed(tree)]
    while waiting:
        above, message = waiting.pop()
        yield above, message
        own = name_of(message.get("messageId"))
        waiting += [(own, child) for child in reversed(objects_of(message.get("children")))]


def _nodes(key: str, parent: str | None, message: JsonObject, notes: Notes) -> list[Node]:
    at = moment_of(message.get("createdAt"))
    parts, text = objects_of(message.get("content")), text_of(message.get("text"))
    files = objects_of(message.get("files")) + objects_of(message.get("attachments"))
    for file in files:
        name = text_of(file.get("filename")) or text_of(file.get("type")) or "without a name"
        notes.skip(f"The file {name[:128]!r} was not imported.", key)
    if message.get("isCreatedByUser") is True:
        text = text or "\n\n".join(filter(None, (_text(part.get("text")) for part in parts)))
        said = ForeignMessage(role="user", text=text or (NO_TEXT if files else ""), at=at)
        return [Node(id=key, parent=parent, message=said)]
    steps = list(_steps(key, parts, notes)) if parts else [Step(text=text)]
    model = name_of(message.get("model"))
    return nodes_of_steps(key, parent, steps, model=model, at=at, notes=notes)


def _text(value: object) -> str:
    return text_of(value) or text_of(object_of(value).get("value"))


def _steps(key: str, parts: list[JsonObject], notes: Notes) -> Iterator[Step]:
    for number, part in enumerate(parts, 1):
        kind = part.get("type")
        if kind == "text":
            yield Step(text=_text(part.get("text")))
        elif kind == "think":
            yield Step(reasoning=_text(part.get("think")))
        elif kind == "tool_call":
            call = object_of(part.get("tool_call"))
            function = object_of(call.get("function")) or call
            own = name_of(call.get("id")) or f"{key}/{number}"
            given = function.get("args", function.get("arguments"))
            yield Step(call=function_call(own, function.get("name"), given))
            output = text_of(function.get("output"))
            if output:
                yield Step(result=output, call_id=own)
        else:
            notes.skip(f"A part of type {str(kind)[:64]!r} was not imported.", key)

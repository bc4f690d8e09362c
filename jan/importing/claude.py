"""Claude: conversations.json of its data export. Messages name their parents; in older exports they are a list."""

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
    objects_of,
    role_of,
    text_of,
    with_file,
)


def is_claude(found: JsonObject) -> bool:
    """Return True for a conversation of Claude."""
    return isinstance(found.get("chat_messages"), list)


def read_claude(found: JsonObject, notes: Notes) -> Foreign:
    """Read a conversation of Claude."""
    nodes: list[Node] = []
    before: str | None = None
    for number, message in enumerate(objects_of(found.get("chat_messages")), 1):
        key = name_of(message.get("uuid")) or str(number)
        parent = name_of(message.get("parent_message_uuid")) if "parent_message_uuid" in message else before
        nodes += _nodes(key, parent, message, notes)
        before = key
    return Foreign(
        id=text_of(found.get("uuid")),
        title=text_of(found.get("name")),
        model=name_of(found.get("model")),
        nodes=nodes,
        current=name_of(found.get("current_leaf_message_uuid")),
        created_at=moment_of(found.get("created_at")),
        updated_at=moment_of(found.get("updated_at")),
        pinned=found.get("is_starred") is True,
    )


def _nodes(key: str, parent: str | None, message: JsonObject, notes: Notes) -> list[Node]:
    role, at = role_of(message.get("sender")), moment_of(message.get("created_at"))
    model = name_of(message.get("model"))
    if role == "assistant":
        steps = list(_steps(key, message, notes))
        return nodes_of_steps(key, parent, steps, model=model, at=at, notes=notes)
    if role != "user":
        notes.skip(f"Messages of {str(message.get('sender'))[:64]!r} are not kept.", key)
        return [Node(id=key, parent=parent)]
    blocks = objects_of(message.get("content"))
    texts = [text_of(block.get("text")) for block in blocks if block.get("type") == "text"]
    text = "\n\n".join(filter(None, texts)) or text_of(message.get("text"))
    left_out = {text_of(block.get("type"))[:64] for block in blocks} - {"text"}
    for kind in sorted(left_out):
        notes.skip(f"A part of type {kind!r} was not imported.", key)
    for file in objects_of(message.get("attachments")):
        name, content = text_of(file.get("file_name")), text_of(file.get("extracted_content"))
        if content:
            text = with_file(text, name, content)
        else:
            notes.skip(f"The file {name[:128]!r} was not imported.", key)
    for file in objects_of(message.get("files")):
        notes.skip(f"The file {text_of(file.get('file_name'))[:128]!r} is not in the export.", key)
        text = text or NO_TEXT
    return [Node(id=key, parent=parent, message=ForeignMessage(role="user", text=text, model=model, at=at))]


def _steps(key: str, message: JsonObject, notes: Notes) -> Iterator[Step]:
    blocks = objects_of(message.get("content"))
    if not blocks:
        yield Step(text=text_of(message.get("text")))
    for number, block in enumerate(blocks, 1):
        kind = block.get("type")
        if kind == "text":
            yield Step(text=text_of(block.get("text")))
        elif kind == "thinking":
            yield Step(reasoning=text_of(block.get("thinking")))
        elif kind == "tool_use":
            own = name_of(block.get("id")) or f"{key}/{number}"
            yield Step(call=function_call(own, block.get("name"), block.get("input")))
        elif kind == "tool_result":
            yield Step(result=_result(block, key, notes), call_id=name_of(block.get("tool_use_id")))
        elif kind not in ("token_budget", "flag"):
            notes.skip(f"A part of type {str(kind)[:64]!r} was not imported.", key)


def _result(block: JsonObject, key: str, notes: Notes) -> str:
    content = block.get("content")
    if isinstance(content, str):
        return content
    parts = objects_of(content)
    if any(part.get("type") != "text" and not part.get("text") for part in parts):
        notes.skip("A part of a tool's result that is no text was not imported.", key)
    return "\n".join(filter(None, (text_of(part.get("text")) for part in parts)))

"""The web page of llama.cpp's server: its export as JSON, or as lines for a session and for each message."""

import msgspec

from jan.importing.foreign import (
    NO_TEXT,
    Foreign,
    ForeignMessage,
    JsonObject,
    Node,
    Notes,
    function_call,
    moment_of,
    name_of,
    object_of,
    objects_of,
    role_of,
    text_of,
    with_file,
)


def is_llamacpp(found: JsonObject) -> bool:
    """Return True for a conversation of llama.cpp's page."""
    whole = isinstance(found.get("conv"), dict) and isinstance(found.get("messages"), list)
    return whole or (isinstance(found.get("session"), dict) and isinstance(found.get("lines"), list))


def read_llamacpp(found: JsonObject, notes: Notes) -> Foreign:
    """Read a conversation of llama.cpp's page."""
    conversation = object_of(found.get("conv") or found.get("session"))
    messages = objects_of(found.get("messages"))
    messages += [object_of(line.get("message")) for line in objects_of(found.get("lines"))]
    nodes: list[Node] = []
    before: str | None = None
    for number, message in enumerate(messages, 1):
        key = name_of(message.get("id")) or str(number)
        parent = name_of(message.get("parent")) if "parent" in message else before
        nodes.append(_node(key, parent, message, notes))
        before = key
    times = [at for message in messages if (at := moment_of(message.get("timestamp")))]
    return Foreign(
        id=name_of(conversation.get("id")) or "",
        title=text_of(conversation.get("name")),
        nodes=nodes,
        current=name_of(conversation.get("currNode")),
        created_at=min(times, default=None),
        updated_at=moment_of(conversation.get("lastModified")),
        pinned=conversation.get("pinned") is True,
    )


def _node(key: str, parent: str | None, message: JsonObject, notes: Notes) -> Node:
    if message.get("type") == "root" and not message.get("content"):
        return Node(id=key, parent=parent)
    role = role_of(message.get("role"))
    if role is None:
        notes.skip(f"Messages of {str(message.get('role'))[:64]!r} are not kept.", key)
        return Node(id=key, parent=parent)
    text = _with_files(key, text_of(message.get("content")), objects_of(message.get("extra")), notes)
    answers = role == "assistant"
    said = ForeignMessage(
        role=role,
        text=text,
        reasoning=(text_of(message.get("reasoningContent")) or text_of(message.get("thinking")))
        if answers
        else "",
        calls=_calls(key, message.get("toolCalls")) if answers else (),
        call_id=name_of(message.get("toolCallId")) if role == "tool" else None,
        model=name_of(message.get("model")),
        at=moment_of(message.get("timestamp")),
    )
    return Node(id=key, parent=parent, message=said)


def _with_files(key: str, text: str, files: list[JsonObject], notes: Notes) -> str:
    for file in files:
        name, content = text_of(file.get("name")), text_of(file.get("content"))
        if content:
            text = with_file(text, name, content)
        else:
            notes.skip(f"The file {name[:128]!r} was not imported.", key)
    return text or (NO_TEXT if files else "")


def _calls(key: str, given: object) -> tuple[JsonObject, ...]:
    """Return the calls of a message. Older exports have them as a JSON text."""
    if isinstance(given, str):
        try:
            given = msgspec.json.decode(given)
        except (msgspec.DecodeError, RecursionError):
            return ()
    calls = []
    for number, call in enumerate(objects_of(given), 1):
        function = object_of(call.get("function"))
        own = name_of(call.get("id")) or f"{key}/{number}"
        calls.append(function_call(own, function.get("name"), function.get("arguments")))
    return tuple(calls)

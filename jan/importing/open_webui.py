"""Open WebUI: the export of chats. A chat has its messages in ``chat.history``, by id, and names the current one.

Reasoning and calls of tools are in ``output`` of newer messages, and in ``<details>`` in the text of older ones.
"""

import re
from collections.abc import Iterator
from html import unescape

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

_BEGIN, _END = "<details", "</details>"
_SUMMARY = "</summary>"
_ATTRIBUTE = re.compile(r'\b(\w{1,32})="([^"]*)"')
_QUOTED = re.compile("^> ?", re.MULTILINE)


def is_open_webui(found: JsonObject) -> bool:
    """Return True for a chat of Open WebUI."""
    chat = found.get("chat")
    return isinstance(chat, dict) and ("history" in chat or "messages" in chat)


def read_open_webui(found: JsonObject, notes: Notes) -> Foreign:
    """Read a chat of Open WebUI."""
    chat = object_of(found.get("chat"))
    history = object_of(chat.get("history"))
    nodes: list[Node] = []
    before: str | None = None
    for key, message in _messages(chat, history):
        parent = name_of(message["parentId"]) if "parentId" in message else before
        nodes += _nodes(key, parent, message, notes)
        before = key
    models = chat.get("models")
    first = models[0] if isinstance(models, list) and models else None
    return Foreign(
        id=text_of(found.get("id")) or text_of(chat.get("id")),
        title=text_of(found.get("title")) or text_of(chat.get("title")),
        model=name_of(first),
        system=text_of(object_of(chat.get("params")).get("system")) or text_of(chat.get("system")),
        nodes=nodes,
        current=name_of(history.get("currentId")),
        created_at=moment_of(found.get("created_at")) or moment_of(chat.get("timestamp")),
        updated_at=moment_of(found.get("updated_at")),
        pinned=found.get("pinned") is True,
        archived=found.get("archived") is True,
        folder=_folder(found),
    )


def _folder(found: JsonObject) -> str:
    """Return a name for the folder of a chat. Exports have its id only, which keeps together what was in it."""
    own_id = name_of(found.get("folder_id"))
    return f"Open WebUI {own_id[:8]}" if own_id else ""


def _messages(chat: JsonObject, history: JsonObject) -> Iterator[tuple[str, JsonObject]]:
    by_id = history.get("messages")
    if isinstance(by_id, dict):
        yield from ((key, object_of(message)) for key, message in by_id.items())
    else:
        for number, message in enumerate(objects_of(chat.get("messages")), 1):
            yield name_of(message.get("id")) or str(number), message


def _nodes(key: str, parent: str | None, message: JsonObject, notes: Notes) -> list[Node]:
    role, at = role_of(message.get("role")), moment_of(message.get("timestamp"))
    if role is None or role == "tool":
        notes.skip(f"Messages of {str(message.get('role'))[:64]!r} are not kept.", key)
        return [Node(id=key, parent=parent)]
    text, files = _text(message.get("content")), objects_of(message.get("files"))
    for file in files:
        name = text_of(file.get("name")) or text_of(file.get("type")) or "without a name"
        notes.skip(f"The file {name[:128]!r} was not imported.", key)
    if role == "assistant":
        output = objects_of(message.get("output"))
        steps = list(_steps_of_output(key, output, notes) if output else steps_of_details(key, text))
        if object_of(message.get("error")) and not text:
            notes.skip("The answer failed in Open WebUI.", key)
        return nodes_of_steps(key, parent, steps, model=name_of(message.get("model")), at=at, notes=notes)
    said = ForeignMessage(role=role, text=text or (NO_TEXT if files else ""), at=at)
    return [Node(id=key, parent=parent, message=said)]


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(filter(None, (text_of(part.get("text")) for part in objects_of(content))))


def _steps_of_output(key: str, output: list[JsonObject], notes: Notes) -> Iterator[Step]:
    for item in output:
        kind = item.get("type")
        if kind == "message":
            yield Step(text=_text(item.get("content")))
        elif kind == "reasoning":
            yield Step(reasoning=_text(item.get("content")) or _text(item.get("summary")))
        elif kind == "function_call":
            own = name_of(item.get("call_id")) or name_of(item.get("id")) or key
            yield Step(call=function_call(own, item.get("name"), item.get("arguments")))
        elif kind == "function_call_output":
            yield Step(result=_text(item.get("output")), call_id=name_of(item.get("call_id")))
        else:
            notes.skip(f"A part of type {str(kind)[:64]!r} was not imported.", key)


def steps_of_details(key: str, text: str) -> Iterator[Step]:
    """Yield the steps of an answer in which thoughts and calls are elements of HTML."""
    end = 0
    for begin, inside, behind in _details(text):
        head, _, inner = text[begin:inside].partition(">")
        given = {name: unescape(value) for name, value in _ATTRIBUTE.findall(head)}
        kind = given.get("type")
        if kind not in ("reasoning", "tool_calls"):
            continue
        yield Step(text=text[end:begin].strip())
        end = behind
        if kind == "reasoning":
            _, summary, thoughts = inner.partition(_SUMMARY)
            yield Step(reasoning=_QUOTED.sub("", unescape(thoughts if summary else inner).strip()))
        else:
            own = given.get("id") or f"{key}/{begin}"
            yield Step(call=function_call(own, given.get("name"), given.get("arguments", "{}")))
            if given.get("result"):
                yield Step(result=given["result"], call_id=own)
    yield Step(text=text[end:].strip() if end else text)


def _details(text: str) -> Iterator[tuple[int, int, int]]:
    """Yield where an element begins, where its end tag does, and what is behind it."""
    begin = text.find(_BEGIN)
    while begin >= 0 and (inside := text.find(_END, begin)) >= 0:
        behind = inside + len(_END)
        yield begin, inside, behind
        begin = text.find(_BEGIN, behind)

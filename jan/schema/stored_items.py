"""The items of a stored message: what it says, in order, as every API reads it and as exports have it."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

JsonObject = dict[str, Any]


class _Item(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=True):
    """The base of all kinds of items."""


class StoredText(_Item, frozen=True, kw_only=True, tag="text"):
    """A text that somebody said."""

    text: str


class StoredParts(_Item, frozen=True, kw_only=True, tag="parts"):
    """Texts and other parts of a message, such as images, as its client sent them. Nobody looks inside."""

    parts: list[JsonObject]


class StoredReasoning(_Item, frozen=True, kw_only=True, tag="reasoning"):
    """The thoughts of the assistant before what follows."""

    text: str


class NamespacedName(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The name of a tool in a namespace."""

    name: str
    namespace: str


class StoredCall(_Item, frozen=True, kw_only=True, tag="call"):
    """A call of a function. ``arguments`` is a JSON text.

    ``name``: what the model calls it. ``namespaced``: its name for the client, if it is in a namespace.
    """

    id: str
    name: str
    arguments: str
    namespaced: NamespacedName | UnsetType = UNSET

    @property
    def shown(self) -> JsonObject:
        """The call as messages of chat completions have it."""
        function = {"name": self.name, "arguments": self.arguments}
        return {"id": self.id, "type": "function", "function": function}


class StoredCustomCall(_Item, frozen=True, kw_only=True, tag="custom_call"):
    """A call of a custom tool, which takes a text. For the names see ``StoredCall``."""

    id: str
    name: str
    input: str
    namespaced: NamespacedName | UnsetType = UNSET

    @property
    def shown(self) -> JsonObject:
        """The call as messages of chat completions have it."""
        return {"id": self.id, "type": "custom", "custom": {"name": self.name, "input": self.input}}


class StoredResult(_Item, frozen=True, kw_only=True, tag="result"):
    """The result of the call ``call_id``: a text, or parts."""

    call_id: str | None
    output: str | list[JsonObject] | None


AnyCall = StoredCall | StoredCustomCall
StoredItem = StoredText | StoredParts | StoredReasoning | StoredCall | StoredCustomCall | StoredResult
StoredItems = tuple[StoredItem, ...]


class Itemised:
    """A message made of ``items``, and its parts under the names that chat completions have for them."""

    __slots__ = ()

    items: StoredItems

    @property
    def content(self) -> str | list[JsonObject] | None:
        """The text, the parts, or the output of a call; None if there is none of them."""
        found: list[str | list[JsonObject]] = []
        for item in self.items:
            if isinstance(item, StoredResult):
                return item.output
            if isinstance(item, StoredText):
                found.append(item.text)
            elif isinstance(item, StoredParts):
                found.append(item.parts)
        return _joined(found) if len(found) > 1 else (found[0] if found else None)

    @property
    def reasoning(self) -> str | None:
        """The reasoning; None if there is none."""
        found = [item.text for item in self.items if isinstance(item, StoredReasoning)]
        return "\n".join(found) if found else None

    @property
    def tool_calls(self) -> list[JsonObject] | None:
        """The calls, as messages of chat completions have them; None if there are none."""
        return [call.shown for call in self.calls] or None

    @property
    def calls(self) -> list[AnyCall]:
        """The calls of tools, in order."""
        return [item for item in self.items if isinstance(item, StoredCall | StoredCustomCall)]

    @property
    def tool_call_id(self) -> str | None:
        """The id of the call whose result this is; None if it is none."""
        return next((item.call_id for item in self.items if isinstance(item, StoredResult)), None)


def _joined(contents: Sequence[str | list[JsonObject]]) -> str | list[JsonObject]:
    """Join contents: texts to one text, and all else to one list of parts."""
    texts = [one for one in contents if isinstance(one, str)]
    if len(texts) == len(contents):
        return "".join(texts)
    parts: list[JsonObject] = []
    for one in contents:
        parts += [{"type": "text", "text": one}] if isinstance(one, str) else one
    return parts


def items_made_of(
    content: str | list[JsonObject] | None,
    *,
    reasoning: str | None = None,
    tool_calls: Sequence[JsonObject] | None = None,
    tool_call_id: str | None = None,
    is_result: bool = False,
) -> StoredItems:
    """Return the items of a message that has these parts in chat completions.

    ``is_result``: the message is the result of a call, even if it names none.
    """
    items: list[StoredItem] = [StoredReasoning(text=reasoning)] if reasoning else []
    if is_result or tool_call_id is not None:
        items.append(StoredResult(call_id=tool_call_id, output=content))
    elif isinstance(content, str):
        items.append(StoredText(text=content))
    elif content is not None:
        items.append(StoredParts(parts=content))
    return (*items, *map(_call_of, tool_calls or ()))


def items_of_answer(reasoning: str, text: str, calls: Sequence[AnyCall]) -> StoredItems:
    """Return the items of an answer. One without anything has an empty text."""
    items: list[StoredItem] = [StoredReasoning(text=reasoning)] if reasoning else []
    if text or not calls:
        items.append(StoredText(text=text))
    return (*items, *calls)


def _call_of(call: JsonObject) -> AnyCall:
    """Return a call of a message, however it was sent: arguments may be an object."""
    own = str(call.get("id", ""))
    namespaced: NamespacedName | UnsetType = UNSET
    with suppress(msgspec.ValidationError):
        namespaced = msgspec.convert(call.get("namespaced"), NamespacedName)
    if isinstance(custom := call.get("custom"), dict):
        name, text = str(custom.get("name", "")), str(custom.get("input", ""))
        return StoredCustomCall(id=own, name=name, input=text, namespaced=namespaced)
    given = call.get("function")
    function = given if isinstance(given, dict) else {}
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        arguments = msgspec.json.encode(arguments or {}).decode()
    return StoredCall(id=own, name=str(function.get("name", "")), arguments=arguments, namespaced=namespaced)

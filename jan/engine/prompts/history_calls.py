"""Tool calls of a conversation's history, in the form that a chat template takes: arguments and ids."""

import re
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from jan.engine.call_ids import CallIds, call_id

_NINE = re.compile(r"[A-Za-z0-9]{9}")
_OTHER = "arguments"
# Far below Python's recursion limit, and deeper than any sensible arguments.
_DEEPEST = 100


def arguments_object(arguments: str) -> dict[str, Any]:
    """Return the arguments of a call as an object, whatever a model or a gateway has made of them.

    No text is an empty object. A text that is no object, such as one that was cut off, is wrapped into one.
    """
    value = _decoded(arguments)
    if isinstance(value, str) and value is not arguments:
        # Some gateways encode the object twice.
        again = _decoded(value)
        value = again if isinstance(again, dict) else value
    if isinstance(value, dict):
        return value
    return {} if value is None else {_OTHER: value}


def _decoded(text: str) -> Any:
    """Return the JSON value of a text, None if it is blank, or the text itself if it is not JSON."""
    if not text.strip():
        return None
    try:
        # Not json.loads: it takes NaN, and escapes of half characters that no tokenizer takes.
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text
    return text if _is_deep(value) else value


def _is_deep(value: Any) -> bool:
    """Return True if a value is nested deeper than templates can write it."""
    level = [value]
    for _ in range(_DEEPEST):
        containers = [item for item in level if isinstance(item, dict | list)]
        level = [i for item in containers for i in (item.values() if isinstance(item, dict) else item)]
        if not level:
            return False
    return True


def arguments_text(arguments: str) -> str:
    """Return the arguments of a call as the JSON text of an object. A text that is one stays as it is."""
    if isinstance(_decoded(arguments), dict):
        return arguments
    return msgspec.json.encode(arguments_object(arguments)).decode()


class FittingIds:
    """Gives each call of a history an id in a form, and each result the id of its call.

    An id that already has the form stays, unless an earlier call has it too. Where several calls of one message
    have the same id, results belong to them in turn.
    """

    def __init__(self, form: CallIds) -> None:
        self._form = form
        self._given: set[str] = set()
        # Calls that a result may belong to, by their id in the history and by the function's name, oldest first.
        self._by_id: dict[str, deque[str]] = {}
        self._by_name: dict[str, deque[str]] = {}
        # Ids in the history of the calls of the message that is being read.
        self._of_message: set[str] = set()

    def begin_message(self) -> None:
        """Begin with the calls of a message. An id of an earlier message that is used again is another call."""
        self._of_message.clear()

    def of_call(self, old: str, name: str) -> str:
        """Return the id of the history's next call."""
        new = self._fitted(old, name)
        self._given.add(new)
        if old not in self._of_message:
            self._of_message.add(old)
            self._by_id[old] = deque()
        self._by_id[old].append(new)
        self._by_name.setdefault(name, deque()).append(new)
        return new

    def of_result(self, old: str | None, name: str | None) -> str:
        """Return the id of the call that a result belongs to. Without an id, it is the oldest call by name."""
        waiting = self._by_name.get(name or "") if old is None else self._by_id.get(old)
        if not waiting:
            return self._fitted(old if old is not None else f"{name}", name or "")
        # The last one stays, for a second result of the same call.
        return waiting.popleft() if len(waiting) > 1 else waiting[0]

    def _fitted(self, old: str, name: str) -> str:
        if self._form == "call":
            return old
        if self._form == "named":
            return f"functions.{name}:{len(self._given)}"
        new = old if _NINE.fullmatch(old) else call_id("nine", old)
        return call_id("nine", f"{old} {len(self._given)}") if new in self._given else new


def with_fitting_calls(
    entries: Iterable[dict[str, Any]], form: CallIds, *, as_text: bool, result_names: bool
) -> list[dict[str, Any]]:
    """Return messages whose calls and results fit.

    Args:
        form: the form of ids.
        as_text: arguments are JSON texts, not objects.
        result_names: a result has the name of its function.
    """
    ids, names = FittingIds(form), dict[str, str]()
    fit = arguments_text if as_text else arguments_object
    fitted = []
    for entry in entries:
        if entry["role"] == "tool":
            own = ids.of_result(entry.get("tool_call_id"), entry.get("name"))
            known = {"name": names[own]} if result_names and own in names else {}
            entry = {**known, **entry, "tool_call_id": own}
        elif "tool_calls" in entry:
            ids.begin_message()
            calls = [_fitting_call(call, ids, fit) for call in entry["tool_calls"]]
            names |= {call["id"]: call["function"]["name"] for call in calls}
            entry = {**entry, "tool_calls": calls}
        fitted.append(entry)
    return fitted


def _fitting_call(call: dict[str, Any], ids: FittingIds, fit: Callable[[str], Any]) -> dict[str, Any]:
    function = call["function"]
    return {
        **call,
        "id": ids.of_call(call["id"], function["name"]),
        "function": {**function, "arguments": fit(function["arguments"])},
    }

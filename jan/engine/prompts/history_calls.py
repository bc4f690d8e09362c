"""Tool calls of a conversation's history, in the form that a chat template takes: arguments and ids."""

import re
from collections.abc import Iterable
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

    An id that already has the form stays.
    """

    def __init__(self, form: CallIds) -> None:
        self._form = form
        self._count = 0
        # The newest id that was given for one of the history, which may use an id again.
        self._given: dict[str, str] = {}
        # Calls without a result yet, by the function's name.
        self._open: dict[str, list[str]] = {}

    def of_call(self, old: str, name: str) -> str:
        """Return the id of the history's next call."""
        new = f"functions.{name}:{self._count}" if self._form == "named" else self._fitted(old)
        self._count += 1
        self._given[old] = new
        self._open.setdefault(name, []).append(new)
        return new

    def of_result(self, old: str | None, name: str | None) -> str:
        """Return the id of the call that a result belongs to. Without an id, it is the last open call by name."""
        if old is None:
            found = self._open.get(name or "")
            return found.pop() if found else self._fitted(f"{name}")
        return self._given.get(old) or self._fitted(old)

    def _fitted(self, old: str) -> str:
        if self._form != "nine":
            return old
        return old if _NINE.fullmatch(old) else call_id("nine", old)


def with_fitting_calls(entries: Iterable[dict[str, Any]], form: CallIds, *, as_text: bool) -> list[dict[str, Any]]:
    """Return messages whose calls and results fit: their ids, and arguments as objects or as JSON texts."""
    ids = FittingIds(form)
    fit = arguments_text if as_text else arguments_object
    fitted = []
    for entry in entries:
        if entry["role"] == "tool":
            entry = {**entry, "tool_call_id": ids.of_result(entry.get("tool_call_id"), entry.get("name"))}
        elif "tool_calls" in entry:
            calls = []
            for call in entry["tool_calls"]:
                function = call["function"]
                calls.append(
                    {
                        **call,
                        "id": ids.of_call(call["id"], function["name"]),
                        "function": {**function, "arguments": fit(function["arguments"])},
                    }
                )
            entry = {**entry, "tool_calls": calls}
        fitted.append(entry)
    return fitted

"""Read a tool call that is written in JSON: the whole call as one object, or only its arguments."""

import json
import re
from collections.abc import Callable
from typing import Any

from jan.engine.answers.literals import whole_characters

_NAME_KEYS = ("name", "tool_name")
_ARGUMENT_KEYS = ("arguments", "parameters")

# Characters of a key or a name. A longer one is no part of a call.
_LONGEST_STRING = 512
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SCALAR = re.compile(r"[^\s,}\]]*")
_OUTSIDE_STRING, _INSIDE_STRING = re.compile(r'["{}\[\]]'), re.compile(r'["\\]')


class JsonEnd:
    """Finds the end of a JSON object, list or string that arrives in pieces."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = self._escaped = False
        self.found = False

    def feed(self, text: str) -> int:
        """Return how many characters of ``text`` belong to the value."""
        at = 0
        while at < len(text):
            if self._escaped:
                self._escaped, at = False, at + 1
                continue
            mark = (_INSIDE_STRING if self._in_string else _OUTSIDE_STRING).search(text, at)
            if mark is None:
                return len(text)
            at = mark.end()
            self._pass(mark[0])
            if not self._depth and not self._in_string:
                self.found = True
                return at
        return len(text)

    def _pass(self, mark: str) -> None:
        if mark == "\\":
            self._escaped = True
        elif mark == '"':
            self._in_string = not self._in_string
        else:
            self._depth += 1 if mark in "{[" else -1


class JsonArguments:
    """Reads the arguments of a call whose name has been read: one JSON object.

    The attributes are those of every body of a call. ``name``: the tool's name, '' until it is known. ``started``:
    it is certainly a call. ``whole``: the arguments are complete. ``ended``: the body is complete, and ``rest`` is
    the text after it. ``failed``: it is no call.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.started, self.failed, self.whole, self.ended = True, False, False, False
        self.rest = ""
        self._end = JsonEnd()

    def push(self, text: str) -> str:
        """Add text; returns the part of the arguments that is certain now."""
        end = self._end.feed(text)
        if self._end.found:
            self.whole = self.ended = True
            self.rest = text[end:]
        return text[:end]


class JsonCall:
    """Reads a whole call that is one JSON object, with its keys in any order and any other keys.

    The arguments are an object, or a string that has one in JSON; without any they are empty. The attributes are
    those of ``JsonArguments``.

    Args:
        callable: tells if a tool of a name may be called. Any other name makes this no call.
    """

    def __init__(self, callable: Callable[[str], bool]) -> None:
        self._callable = callable
        self.name = ""
        self.started, self.failed, self.whole, self.ended = False, False, False, False
        self.rest = ""
        self._key = ""
        self._has_arguments = False
        self._pending: list[str] = []  # arguments that came before the name
        self._end = JsonEnd()
        self._held: list[str] = []  # a string that holds the arguments
        self._state = self._open

    def push(self, text: str) -> str:
        """Add text; returns the part of the arguments that is certain now."""
        self.rest += text
        while not (self.ended or self.failed) and self._state():
            pass
        if self.failed and self.name and self._has_arguments:
            self.ended, self.failed = True, False  # what follows the arguments is no part of the call
        if not self._has_arguments or not self.name:
            return ""
        self.started = True
        certain, self._pending = "".join(self._pending), []
        return certain

    def _open(self) -> bool:
        if self.rest:
            self.rest, self._state = self.rest[1:], self._next_key
        return bool(self.rest)

    def _next_key(self) -> bool:
        self.rest = self.rest.lstrip()
        if self.rest.startswith("}"):
            return self._close()
        key = self._whole_string()
        if key is None:
            return False
        self._key, self._state = key, self._colon
        return True

    def _colon(self) -> bool:
        return self._skip(":", self._value)

    def _comma(self) -> bool:
        self.rest = self.rest.lstrip()
        return self._close() if self.rest.startswith("}") else self._skip(",", self._next_key)

    def _skip(self, mark: str, following: Any) -> bool:
        self.rest = self.rest.lstrip()
        if not self.rest:
            return False
        self.failed = not self.rest.startswith(mark)
        if not self.failed:
            self.rest, self._state = self.rest[1:], following
        return not self.failed

    def _close(self) -> bool:
        self.rest = self.rest[1:]
        if not self._has_arguments:
            self._has_arguments = True
            self._pending.append("{}")
        self.whole = True
        self.ended, self.failed = bool(self.name), not self.name
        return False

    def _value(self) -> bool:
        self.rest = self.rest.lstrip()
        if not self.rest:
            return False
        if self._key in _NAME_KEYS and not self.name:
            name = self._whole_string()
            if name is not None:
                self.failed = not name or not self._callable(name)
                self.name, self._state = "" if self.failed else name, self._comma
            return name is not None
        wanted = self._key in _ARGUMENT_KEYS and not self._has_arguments
        self._end = JsonEnd()
        if self.rest[0] == '"':
            self._held, self._state = [], self._text_arguments if wanted else self._other
        elif self.rest[0] == "{" and wanted:
            self._has_arguments, self._state = True, self._arguments
        elif self.rest[0] in "{[":
            self._state = self._other
            self.failed = wanted
        else:
            self._state = self._scalar
        return True

    def _arguments(self) -> bool:
        self._pending.append(self._take())
        self.whole = self._end.found
        return self._end.found and self._go_on()

    def _text_arguments(self) -> bool:
        self._held.append(self._take())
        if not self._end.found:
            return False
        arguments = _object_in("".join(self._held))
        if arguments is None:
            self.failed = True
            return False
        self._has_arguments = self.whole = True
        self._pending.append(arguments)
        return self._go_on()

    def _other(self) -> bool:
        self._take()
        return self._end.found and self._go_on()

    def _scalar(self) -> bool:
        """Skip a number or a word; null stands for no arguments."""
        scalar = _SCALAR.match(self.rest)
        self.failed = scalar is None or scalar.end() > _LONGEST_STRING
        if scalar is None or self.failed or scalar.end() == len(self.rest):
            return False
        wanted = self._key in _ARGUMENT_KEYS and not self._has_arguments
        self.failed = not scalar[0] or (wanted and scalar[0] != "null")
        self.rest = self.rest[scalar.end() :]
        return self._go_on()

    def _go_on(self) -> bool:
        self._state = self._comma
        return True

    def _take(self) -> str:
        end = self._end.feed(self.rest)
        taken, self.rest = self.rest[:end], self.rest[end:]
        return taken

    def _whole_string(self) -> str | None:
        """Take a string if it is complete. Anything else is no call."""
        string = _STRING.match(self.rest, 0, _LONGEST_STRING)
        if string is None:
            self.failed = bool(self.rest) and (self.rest[0] != '"' or len(self.rest) >= _LONGEST_STRING)
            return None
        self.rest = self.rest[string.end() :]
        text = _loaded(string[0])
        self.failed = not isinstance(text, str)
        return text if isinstance(text, str) else None


def _loaded(text: str) -> Any:
    """Return a value of JSON, None if the text is no JSON."""
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None


def _object_in(string: str) -> str | None:
    """Return the JSON object that a JSON string holds; an empty string holds an empty one."""
    text = _loaded(string)
    if not isinstance(text, str):
        return None
    text = whole_characters(text).strip() or "{}"
    return text if isinstance(_loaded(text), dict) else None

"""Write arguments as JSON that are read in another notation."""

import json
from typing import Any

from jan.engine.answers.literals import whole_characters
from jan.engine.prompts.dialects.forms import ArgumentForm, CallForm

# Characters of a key, with the mark behind it. A longer one is no part of a call.
LONGEST_KEY = 512


class ArgumentsReader:
    """Shared by readers of arguments that are no JSON: the state of a body, and the object that they write.

    The attributes are those of ``JsonArguments``.
    """

    def __init__(self, name: str, form: CallForm, *, started: bool) -> None:
        self.name = name
        self.started, self.failed, self.whole, self.ended = started, False, False, False
        self.rest = ""
        assert form.argument is not None  # all forms that are not JSON have one
        self._one: ArgumentForm = form.argument
        self._written = 0
        self._state = self._before_key

    def push(self, text: str) -> str:
        """Add text; returns the part of the arguments that is certain now."""
        self.rest += text
        certain = ""
        while not (self.ended or self.failed):
            state, rest = self._state, self.rest
            certain += state()
            if self._state == state and self.rest == rest:
                break
        return certain

    def _before_key(self) -> str:
        raise NotImplementedError

    def _key_before(self, mark: str) -> str | None:
        """Take the key at the beginning of the rest and the mark behind it; None if it is not complete.

        ``_is_too_long`` tells a key that is never complete.
        """
        at = self.rest.find(mark, 0, LONGEST_KEY)
        if at < 0:
            return None
        key, self.rest = self.rest[:at], self.rest[at + len(mark) :]
        return key

    @property
    def _is_too_long(self) -> bool:
        return len(self.rest) >= LONGEST_KEY

    def _begin(self, key: str) -> str:
        """Return how an argument begins, without its value."""
        self._written += 1
        return ("{" if self._written == 1 else ", ") + json.dumps(key, ensure_ascii=False) + ": "

    def _close(self) -> str:
        self.whole = self.ended = self.started = True
        return "}" if self._written else "{}"


def as_json(value: Any) -> str:
    """Return a value as JSON that can be sent."""
    return whole_characters(json.dumps(value, ensure_ascii=False))


def escaped(text: str) -> str:
    """Return text as it stands between the quotes of JSON."""
    return json.dumps(text, ensure_ascii=False)[1:-1]

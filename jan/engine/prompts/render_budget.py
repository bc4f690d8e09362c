"""The budget of one rendering of a chat template: steps, CPU time, and characters of the texts that it makes.

A template is a program that came with a model. Jinja's sandbox keeps it from reaching anything, but not from
running for ever or from filling the memory.
"""

import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import jinja2
from jinja2.utils import Namespace

# Accesses, calls and turns of loops for one prompt, which take about two seconds. Most templates make ten for each
# message.
_MOST_STEPS = 600_000
# Seconds of CPU time of the thread that renders.
_MOST_SECONDS = 4.0
# Characters of all texts made for one prompt together, and of one value as text. A request's body has 4 MiB at
# most by default, and templates copy it a few times.
_MOST_CHARACTERS = 1 << 28
# Bits of a whole number. Their arithmetic takes quadratic time.
_MOST_BITS = 4096
# A text to which another one is appended counts for this part of its characters.
_LITTLE = 8
_STEPS_BETWEEN_CHECKS = 8
# Parts of one value: more than a request's body can have.
_MOST_PARTS = 1_000_000
# Looking at this number of parts of a value takes as long as an access.
_PARTS_A_STEP = 8

_TOO_LARGE = "Its text would take too much memory"
_END = object()
_CONTAINERS = (list, tuple, dict, set, frozenset, Namespace, *map(type, ({}.keys(), {}.values(), {}.items())))


class TooCostly(jinja2.TemplateError):
    """A template uses more than it may."""


class RenderBudget(threading.local):
    """The budget of the rendering that runs on this thread."""

    def __init__(self) -> None:
        self.begin()

    def begin(self, variables: Iterable[Any] = ()) -> None:
        """Begin a new rendering of a template.

        ``variables``: values of the request. They are what JSON can be, so they are as large as they look, and so
        are the messages in them.
        """
        given = [value for value in variables if isinstance(value, list | dict)]
        parts = [item for value in given if isinstance(value, list) for item in value]
        self._known = {*map(id, given), *map(id, parts)}
        self._steps = _MOST_STEPS
        self._characters = _MOST_CHARACTERS
        self._check_at = _MOST_STEPS - _STEPS_BETWEEN_CHECKS
        self._ends = time.thread_time() + _MOST_SECONDS

    def step(self, count: int = 1) -> None:
        """Count steps. Raises TooCostly."""
        self._steps = left = self._steps - count
        if left < self._check_at:
            self._check_at = left - _STEPS_BETWEEN_CHECKS
            if left < 0 or time.thread_time() > self._ends:
                raise TooCostly("It takes too long to render so many of them")

    def reserve(self, characters: int) -> None:
        """Count the characters of a text before it is made. Raises TooCostly."""
        self._characters -= characters
        if self._characters < 0:
            raise TooCostly(_TOO_LARGE)

    def check_bits(self, bits: int) -> None:
        """Check the size of a whole number before it is computed. Raises TooCostly."""
        if bits > _MOST_BITS:
            raise TooCostly("Its numbers would be too large")

    def charge(self, value: Any) -> Any:
        """Count a value that the template made; returns it. Raises TooCostly."""
        self.step()
        if isinstance(value, str | bytes):
            self.reserve(len(value))
        elif isinstance(value, _CONTAINERS):
            self._charge_parts(value)
        return value

    def look(self, value: Any) -> Any:
        """Count the parts of a value that is to be written or compared; returns it. Raises TooCostly.

        A list whose items are the same list is small in memory, and endless as text. So its parts are counted as
        often as they would be written.
        """
        if isinstance(value, _CONTAINERS) and id(value) not in self._known:
            self._charge_parts(value)
        return value

    def look_at_all(self, values: Iterable[Any]) -> None:
        """Count the parts of all values together, as ``look`` does of one. Raises TooCostly."""
        known = self._known
        if unknown := [value for value in values if isinstance(value, _CONTAINERS) and id(value) not in known]:
            self._charge_parts(unknown)

    def appended(self, left: str, right: str) -> str:
        """Return two texts as one, which is what templates do most often. Raises TooCostly.

        Some append each message to a text. So what is already there counts for little: the sum of all beginnings
        of a long prompt would exceed the budget.
        """
        self._characters = room = self._characters - len(left) // _LITTLE - len(right)
        if room < 0:
            raise TooCostly(_TOO_LARGE)
        return left + right

    def _charge_parts(self, value: Any) -> None:
        characters, parts, unseen = 0, 0, [_items(value)]
        while unseen:
            item = next(unseen[-1], _END)
            if item is _END:
                unseen.pop()
            elif isinstance(item, _CONTAINERS):
                unseen.append(_items(item))
            elif isinstance(item, str | bytes):
                characters += len(item)
            parts += 1
            if parts % _PARTS_A_STEP == 0:
                self.step()
            if characters > _MOST_CHARACTERS or parts > _MOST_PARTS:
                raise TooCostly(_TOO_LARGE)

    def each(self, iterable: Any) -> "CountedItems":
        """Return the items of a loop, each of which counts as a step."""
        return CountedItems(iterable, self)

    def joined(self, texts: Iterable[str]) -> str:
        """Join texts after counting their characters. Raises TooCostly."""
        found = list(texts)
        self.reserve(sum(map(len, found)))
        return "".join(found)


def _items(value: Any) -> Iterator[Any]:
    if isinstance(value, Namespace):
        value = value._Namespace__attrs
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield item
    else:
        yield from value


class CountedItems:
    """The items of a loop. Its length is that of the given value, if that has one."""

    def __init__(self, given: Any, budget: RenderBudget) -> None:
        self._given = given
        self._budget = budget

    def __iter__(self) -> Iterator[Any]:
        step = self._budget.step
        for item in self._given:
            step()
            yield item

    def __len__(self) -> int:
        return len(self._given)

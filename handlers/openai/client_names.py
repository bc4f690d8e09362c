"""Names the parts of a request as the clients of an API know them, where chat completions have other names."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType

from jan.errors import JanError
from jan.handler import Handler

_PLACE = re.compile(r"\b(messages|tools)\[(\d+)\]")
_NONE: Mapping[str, str] = MappingProxyType({})


class ClientNames:
    """Names by those of chat completions.

    Attributes:
        places: where the request has each of the messages and tools. One that is not there keeps its name.
        stored: the place of messages that the client did not send. Nothing is noted about them.

    ``names``: parts of paths or texts, replaced in this order. ``params``: names of whole parameters.
    """

    def __init__(self, names: Mapping[str, str], params: Mapping[str, str] = _NONE) -> None:
        self._names = names
        self._params = params
        self.places: dict[str, Sequence[str]] = {}
        self.stored = ""

    def named(self, text: str) -> str:
        """Return a text in which parts of the request have the names that the client knows."""
        text = _PLACE.sub(self._place, text)
        for theirs, ours in self._names.items():
            text = text.replace(theirs, ours)
        return text

    def _place(self, found: "re.Match[str]") -> str:
        places, number = self.places.get(found[1], ()), int(found[2])
        return places[number] if number < len(places) else found[0]

    def name_in(self, error: JanError) -> None:
        """Let an error name parts of the request as the client knows them."""
        given, error.message = error.param, self.named(error.message)
        if given is None:
            return
        error.param = self._params.get(given) or self.named(given)
        if error.message.startswith(f"{given}:"):
            error.message = error.param + error.message.removeprefix(given)

    @contextmanager
    def used_by(self, handler: Handler) -> Iterator[None]:
        """Use the names in errors that are raised inside, and in headers of the handler's answer."""
        try:
            yield
        except JanError as error:
            self.name_in(error)
            raise
        finally:
            handler.name_notes(self._noted)

    def _noted(self, text: str) -> str:
        """Return a note as the client knows it; '' for one about messages that it did not send."""
        named = self.named(text)
        return "" if self.stored and named.startswith(self.stored) else named

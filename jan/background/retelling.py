"""Tells a stored answer again, in the pieces in which it was made."""

from collections.abc import Iterator, Sequence

import msgspec

from jan.background.story import PIECE, StoryRecord, arguments_of
from jan.engine.base import Delta, ToolCallFragment
from jan.schema.stored_items import AnyCall, StoredCustomCall
from jan.storage.records import MessageRecord


class Dropped(msgspec.Struct, frozen=True):
    """The latest item was half made when its server ended, and is made anew."""


class ToldCall(msgspec.Struct, frozen=True):
    """A call begins. ``number``: its place among the calls of the answer."""

    delta: Delta
    number: int


Told = Delta | ToldCall | Dropped


class Retelling:
    """Tells one answer, each time from where it stopped the last time."""

    def __init__(self) -> None:
        # The characters of the pieces that are told, and those of each text.
        self._position = 0
        self._told = {"r": 0, "t": 0, "c": 0}
        self._calls = 0
        self._dropped = self._of_dropped = 0
        # The number of calls that were begun, dropped ones included: models number their calls.
        self._begun = -1
        # The number of the custom tool's call whose text is to be told at its end.
        self._custom: int | None = None

    def news(self, message: MessageRecord, story: StoryRecord) -> Iterator[Told]:
        """Yield what is new in a message since the last time."""
        pieces = story.pieces
        for noted in PIECE.finditer(pieces, self._position):
            self._position = noted.end()
            kind, count = noted[1], int(noted[2])
            if kind == "x":
                self._end_dropped(pieces)
                yield Dropped()
            elif kind.isupper():
                yield from self.end(message)
                yield from self._of_item(kind.lower(), count, story)
            elif kind == "n":
                yield from self.end(message)
                yield self._call(message.calls)
            elif kind == "c":
                yield from self._arguments(count, message)
            else:
                yield from self.end(message)
                yield self._text(kind, count, message)

    def end(self, message: MessageRecord) -> Iterator[Told]:
        """Yield what is known only once the latest item is complete: the text of a custom tool."""
        if self._custom is not None:
            custom, self._custom = message.calls[self._custom], None
            assert isinstance(custom, StoredCustomCall)  # noted where it began
            arguments = msgspec.json.encode({"input": custom.input}).decode()
            yield Delta(tool_calls=(ToolCallFragment(index=self._begun, arguments=arguments),))

    def _text(self, kind: str, count: int, message: MessageRecord) -> Delta:
        whole = (message.reasoning if kind == "r" else message.content) or ""
        begin = self._told[kind]
        self._told[kind] = begin + count
        piece = str(whole)[begin : begin + count]
        return Delta(reasoning=piece) if kind == "r" else Delta(text=piece)

    def _call(self, calls: Sequence[AnyCall]) -> ToldCall:
        number, self._calls, self._told["c"] = self._calls, self._calls + 1, 0
        self._begun += 1
        if isinstance(calls[number], StoredCustomCall):
            self._custom = number
        return ToldCall(self._named(calls[number].name), number)

    def _named(self, name: str) -> Delta:
        return Delta(tool_calls=(ToolCallFragment(index=self._begun, name=name),))

    def _arguments(self, count: int, message: MessageRecord) -> Iterator[Told]:
        call = message.calls[self._calls - 1]
        begin = self._told["c"]
        self._told["c"] = begin + count
        if self._custom is None:
            piece = arguments_of(call)[begin : begin + count]
            yield Delta(tool_calls=(ToolCallFragment(index=self._begun, arguments=piece),))

    # --- items that were dropped ----------------------------------------------------------------------

    def _of_item(self, kind: str, count: int, story: StoryRecord) -> Iterator[Told]:
        item, begin = story.dropped[self._dropped], self._of_dropped
        self._of_dropped += count
        piece = item.text[begin : begin + count]
        if kind == "n":
            self._begun += 1
            yield ToldCall(self._named(item.name), self._calls)
        elif kind == "c":
            if piece:
                yield Delta(tool_calls=(ToolCallFragment(index=self._begun, arguments=piece),))
        else:
            yield Delta(reasoning=piece) if kind == "r" else Delta(text=piece)

    def _end_dropped(self, pieces: str) -> None:
        """Go to the next dropped item. The stored texts are shorter now, by what was dropped."""
        self._dropped, self._of_dropped, self._custom = self._dropped + 1, 0, None
        self._told, self._calls = {"r": 0, "t": 0, "c": 0}, 0
        for kind, count in PIECE.findall(pieces[: self._position]):
            if kind == "n":
                self._calls, self._told["c"] = self._calls + 1, 0
            elif kind in self._told:
                self._told[kind] += int(count)

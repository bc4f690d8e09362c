"""An answer that is made in the background, as the store keeps it: its texts, and in which pieces they came.

They are noted as a text such as ``r12t5t4n0c10``: 12 characters of reasoning, then text, then a call with
10 characters of arguments. With them the events of an answer are a function of its stored message, see
``retelling``. So whoever reads them later, elsewhere or after a restart, reads the same.

An item that was half made when its server ended, and can't be continued, is dropped. Its pieces are upper case
from then on, and its text is apart. ``x0`` is where it was dropped.
"""

import re
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import msgspec

from jan.engine.base import Delta, Failed, ToolCallFragment
from jan.engine.call_ids import CallIds
from jan.generation.collected import CollectedCall
from jan.schema.sampling import FinishReason
from jan.schema.stored_items import AnyCall, StoredCall, items_of_answer
from jan.storage.records import MessageRecord, MessageStatus, TokenUsage, now

#: A piece: its kind, and the number of its characters.
PIECE = re.compile(r"([rtncxRTNC])(\d+)")
_KEY = "story"
# The kinds of pieces that are one with a neighbour of the same kind.
_TEXTS = "rtc"
# The first kind of piece of the item that a piece belongs to.
_ITEMS = MappingProxyType({"r": "r", "t": "t", "n": "n", "c": "n"})


class DroppedItem(msgspec.Struct, frozen=True):
    """An item that was made anew: its text or arguments, and the name of the function that it called."""

    text: str
    name: str = ""


class StoryRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a story that is stored beside the content of its message.

    ``begun``: a model has begun it. ``barren``: how often it was begun since its last token. ``prompt_tokens`` and
    the others: the tokens of all attempts, but of the first prompt only. ``error``: what ended it early.
    ``cancelled``: its client ended it.
    """

    begun: bool = False
    barren: int = 0
    pieces: str = ""
    dropped: tuple[DroppedItem, ...] = ()
    call_ids: CallIds = "call"
    prompt_tokens: int = 0
    tokens: int = 0
    reasoning_tokens: int = 0
    cached_tokens: int = 0
    error: Failed | None = None
    cancelled: bool = False

    @property
    def usage(self) -> TokenUsage:
        """The tokens of all attempts."""
        return TokenUsage(
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.tokens,
            cached_tokens=self.cached_tokens,
            reasoning_tokens=self.reasoning_tokens,
        )


def story_of(message: MessageRecord) -> StoryRecord | None:
    """Return what is stored of a message's story; None for a message that was not made in the background."""
    stored = (message.response or {}).get(_KEY)
    return None if stored is None else msgspec.convert(stored, StoryRecord)


def with_story(message: MessageRecord, story: StoryRecord, **content: Any) -> MessageRecord:
    """Return a message with this story. ``content``: other fields that change."""
    response = {**(message.response or {}), _KEY: msgspec.to_builtins(story)}
    return msgspec.structs.replace(message, response=response, **content)


class Story:
    """The answer of one message while it is made.

    ``call_of`` returns a call as it is stored, given its number and what the model wrote.
    """

    def __init__(self, message: MessageRecord, call_of: Callable[[int, CollectedCall, CallIds], AnyCall]) -> None:
        record = story_of(message)
        assert record is not None  # of an answer in the queue
        #: What is stored beside the content. ``message`` adds the pieces.
        self.record = record
        self._message = message
        self._call_of = call_of
        self._reasoning = [message.reasoning or ""]
        self._text = [message.content if isinstance(message.content, str) else ""]
        # Calls that an earlier attempt made, and those of this one.
        self._earlier = list(message.calls)
        self._calls: list[CollectedCall] = []
        self._pieces = record.pieces
        self._new: list[tuple[str, int]] = []
        # The number of the model's latest call, and of those of its calls that are known already.
        self._call = -1
        self._known_calls = 0
        self._known: tuple[str, ...] = ()

    # --- what is there ------------------------------------------------------------------------------

    @property
    def text(self) -> str:
        """The content of the answer so far."""
        return "".join(self._text)

    @property
    def reasoning(self) -> str:
        """The reasoning so far."""
        return "".join(self._reasoning)

    @property
    def whole_calls(self) -> list[AnyCall]:
        """The calls that earlier attempts made."""
        return self._earlier

    @property
    def has_calls(self) -> bool:
        """True if there is a call."""
        return bool(self._earlier or self._calls)

    @property
    def open_kind(self) -> str:
        """The kind of the item that was being made last, as its pieces begin: r, t or n; '' if there is none."""
        pieces = PIECE.findall(self._pieces_so_far())
        return _ITEMS.get(pieces[-1][0], "") if pieces else ""

    @property
    def has_news(self) -> bool:
        """True if something is not in ``message`` yet."""
        return bool(self._new)

    def _pieces_so_far(self) -> str:
        return self._pieces + "".join(f"{kind}{count}" for kind, count in self._new)

    # --- while it is made ---------------------------------------------------------------------------

    def skip(self, *kinds: str, calls: int) -> None:
        """Leave out what the model makes again: texts of these kinds, and this many calls."""
        self._known, self._known_calls = kinds, calls

    def add(self, delta: Delta) -> None:
        """Add what a model made."""
        barren = 0 if delta.tokens else self.record.barren
        self.note(tokens=self.record.tokens + delta.tokens, barren=barren)
        for part in delta.parts or (delta,):
            ended, begun = part.calls_from(self._call)
            for fragment in ended:
                self._add_call(fragment)
            self._add("r", part.reasoning, self._reasoning)
            self._add("t", part.text, self._text)
            for fragment in begun:
                self._add_call(fragment)

    def _add(self, kind: str, text: str, texts: list[str]) -> None:
        if text and kind not in self._known:
            texts.append(text)
            self._note_piece(kind, len(text))

    def _add_call(self, fragment: ToolCallFragment) -> None:
        self._call = fragment.index
        if fragment.index < self._known_calls:
            return
        if fragment.name:
            self._calls.append(CollectedCall(fragment.name))
            self._note_piece("n", 0)
        if fragment.arguments:
            self._calls[-1].arguments += fragment.arguments
            self._note_piece("c", len(fragment.arguments))

    def _note_piece(self, kind: str, count: int) -> None:
        if self._new and self._new[-1][0] == kind and kind in _TEXTS:
            count += self._new.pop()[1]
        self._new.append((kind, count))

    def drop_open(self) -> None:
        """Drop the item that was being made last: it is made anew."""
        kind, pieces = self.open_kind, PIECE.findall(self._pieces_so_far())
        begin = len(pieces)
        while begin and pieces[begin - 1][0] in ("nc" if kind == "n" else kind):
            begin -= 1
            if pieces[begin][0] == "n":
                break
        size = sum(int(count) for _, count in pieces[begin:])
        item = self._drop_call() if kind == "n" else self._drop_text(kind, size)
        kept = [(piece, int(count)) for piece, count in pieces[:begin]]
        dropped = [(piece.upper(), int(count)) for piece, count in pieces[begin:]]
        self._pieces = "".join(f"{piece}{count}" for piece, count in kept + dropped)
        self._new = [("x", 0)]
        self.note(dropped=(*self.record.dropped, item))

    def _drop_text(self, kind: str, size: int) -> DroppedItem:
        texts = self._reasoning if kind == "r" else self._text
        whole = "".join(texts)
        texts[:] = [whole[: len(whole) - size]]
        return DroppedItem(whole[len(whole) - size :])

    def _drop_call(self) -> DroppedItem:
        if self._calls:
            call = self._calls.pop()
            return DroppedItem(call.arguments, call.name)
        stored = self._earlier.pop()
        return DroppedItem(arguments_of(stored), stored.name)

    def note(self, **changes: Any) -> None:
        """Change what is stored beside the content."""
        self.record = msgspec.structs.replace(self.record, **changes)

    # --- for the store ------------------------------------------------------------------------------

    def message(self, status: MessageStatus = "streaming", reason: FinishReason | None = None) -> MessageRecord:
        """Return the message with all that was made so far. The pieces until now are one group."""
        self._pieces, self._new = self._pieces_so_far(), []
        self.note(pieces=self._pieces)
        begin = len(self._earlier)
        calls = [
            *self._earlier,
            *(self._call_of(at, call, self.record.call_ids) for at, call in enumerate(self._calls, begin)),
        ]
        self._message = with_story(
            self._message,
            self.record,
            items=items_of_answer(self.reasoning, self.text, calls),
            status=status,
            updated_at=now(),
            finish_reason=reason,
            usage=self.record.usage if reason is not None else None,
        )
        return self._message


def arguments_of(call: AnyCall) -> str:
    """Return the arguments of a stored call; '' for a custom tool, which has a text instead."""
    return call.arguments if isinstance(call, StoredCall) else ""

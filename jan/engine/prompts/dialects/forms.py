"""The words in which the tables describe a dialect: the parts of a tool call, and the marks of reasoning."""

from typing import Literal

import msgspec

from jan.engine.call_ids import CallIds

# Stand in a form for the number of the call in its answer, and for an id of nine letters or digits.
INDEX, NINE = "\0", "\1"

Arguments = Literal["json", "marked", "python", "compact"]


ReasoningFormat = Literal[
    "", "think", "seed", "mistral", "command", "gemma4", "granite", "response", "answer", "harmony"
]


class ArgumentForm(msgspec.Struct, frozen=True, kw_only=True):
    """How a call writes one argument: ``before_key`` KEY ``key_end`` ``before_value`` VALUE ``end``.

    ``between``: stands between two arguments. ``trims``: one line break at each end of a value is part of the
    form. ``next_key_ends``: a value whose end is missing ends before the next key. ``quote``: what strings stand
    between, if it is not the quote of JSON.
    """

    before_key: str = ""
    key_end: str
    before_value: str = ""
    end: str = ""
    between: str = ""
    trims: bool = False
    next_key_ends: bool = False
    quote: str = ""


class CallForm(msgspec.Struct, frozen=True, kw_only=True):
    """How one dialect writes tool calls.

    An answer with calls is ``opening``, the calls with ``between`` among them, ``closing``. A call is
    ``before_name`` NAME ``after_name`` ARGUMENTS ``end``. Grammars and prompts write them like that. ``INDEX``
    stands for the number of the call, ``NINE`` for its id.

    ``arguments``: their form. ``json``: an object. ``marked``: each value between marks. ``python``: keyword
    arguments of a Python call. ``compact``: an object without quotes around its keys.
    ``argument``: how one argument is written, unless they are JSON.
    ``several``: an answer may have several calls.
    ``ids``: the form of a call's id that templates take.
    ``reasoning``: the form of reasoning that goes with it, where no template says.

    An answer is read with more tolerance:

    ``marks``: the texts that may begin a call.
    ``head``: all before the arguments, from the mark on, as an expression of ``heads``. If it has no
    name, then a JSON object with the name follows.
    ``bare_head``: the same for a call without a mark, at the beginning of an answer; '': there is none.
    ``next_head``: the same for a call that follows another one without a mark; '': none does.
    ``separators``: characters that may stand between two calls.
    ``closers``: texts that may stand after arguments, and mean nothing there.

    Templates may write a history in another way:

    ``shown_head``: how they write the beginning of a call, if it is not as above; an expression.
    ``hints``: words of templates that show no calls, if all of them stand only in templates of this form.
    """

    opening: str = ""
    before_name: str
    after_name: str
    end: str = ""
    between: str = ""
    closing: str = ""
    arguments: Arguments = "json"
    argument: ArgumentForm | None = None
    several: bool = True
    ids: CallIds = "call"
    reasoning: ReasoningFormat = "think"
    marks: tuple[str, ...] = ()
    head: str
    bare_head: str = ""
    next_head: str = ""
    separators: str = ""
    closers: tuple[str, ...] = ()
    shown_head: str = ""
    hints: tuple[str, ...] = ()

    @property
    def begins(self) -> str:
        """All that stands before the first name."""
        return self.opening + self.before_name

    @property
    def mark(self) -> str:
        """The mark that the first call begins with as grammars write it; '' if it has none."""
        return next((mark for mark in self.marks if self.begins.startswith(mark)), "")


class ReasoningForm(msgspec.Struct, frozen=True, kw_only=True):
    """The marks around reasoning, and those around the content after it, if there are any.

    ``in_channels``: an answer is a row of messages, each with the name of its channel, as in OpenAI's harmony.
    """

    open: str
    close: str
    content_open: str = ""
    content_close: str = ""
    in_channels: bool = False

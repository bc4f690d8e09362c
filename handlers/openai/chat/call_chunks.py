"""Calls of an answer on the wire: of functions, of custom tools, and in OpenAI's older form."""

from collections.abc import Callable, Iterable
from itertools import groupby
from operator import attrgetter

import msgspec

from handlers.openai.chat.tool_forms import input_of
from jan.engine.base import ToolCallFragment
from jan.handler import CollectedAnswer
from jan.schema.chat_completion import (
    AnswerMessage,
    CalledCustom,
    CalledFunction,
    ChatDelta,
    ChatFinishReason,
    FunctionCallDelta,
    ToolCallDelta,
)
from jan.schema.messages import CustomCall, FunctionCall
from jan.schema.sampling import FinishReason


class CallForms(msgspec.Struct, frozen=True, kw_only=True):
    """The forms of calls in an answer. ``custom``: names of tools whose argument is a text. ``legacy``: the answer
    has one ``function_call`` at most. ``forced``: the answer is calls alone."""

    custom: frozenset[str] = frozenset()
    legacy: bool = False
    forced: bool = False

    def reason(self, reason: FinishReason) -> ChatFinishReason:
        """Return why the answer ended, in the words of the form."""
        return "function_call" if self.legacy and reason == "tool_calls" else reason


class CallPieces:
    """The pieces of one choice's calls as they come. ``call_id``: makes the id of a call from its number."""

    def __init__(self, forms: CallForms, call_id: Callable[[int], str]) -> None:
        self._forms = forms
        self._call_id = call_id
        # The call of a custom tool whose text is not complete: its number, name and arguments.
        self._open: tuple[int, str, str] | None = None

    def add(self, fragments: Iterable[ToolCallFragment], delta: ChatDelta) -> None:
        """Put new fragments into a delta. Those of one call are joined: clients lose the second in a chunk."""
        made: list[ToolCallDelta] = []
        for number, pieces in groupby(fragments, key=attrgetter("index")):
            found = list(pieces)
            name = "".join(piece.name for piece in found)
            made += self._piece(number, name, "".join(piece.arguments for piece in found))
        self._put(made, delta)

    def end(self, delta: ChatDelta) -> None:
        """Put what is left into the last delta."""
        self._put(self._closed(), delta)

    def _put(self, made: list[ToolCallDelta], delta: ChatDelta) -> None:
        if self._forms.legacy and made:
            delta.function_call = made[0].function
        elif made:
            delta.tool_calls = made

    def _piece(self, number: int, name: str, arguments: str) -> list[ToolCallDelta]:
        if self._open is not None and self._open[0] == number:
            self._open = (number, self._open[1], self._open[2] + arguments)
            return []
        before = self._closed()
        if name in self._forms.custom:
            self._open = (number, name, arguments)
            return before
        if not name:
            return [*before, ToolCallDelta(index=number, function=FunctionCallDelta(arguments=arguments))]
        function = FunctionCallDelta(name=name, arguments=arguments)
        return [*before, ToolCallDelta(index=number, id=self._call_id(number), type="function", function=function)]

    def _closed(self) -> list[ToolCallDelta]:
        """Return the call of a custom tool that has been open, as one piece."""
        if self._open is None:
            return []
        (number, name, arguments), self._open = self._open, None
        custom = CustomCall(name=name, input=input_of(arguments))
        return [ToolCallDelta(index=number, id=self._call_id(number), type="custom", custom=custom)]


def put_calls(
    answer: CollectedAnswer, forms: CallForms, call_id: Callable[[int], str], message: AnswerMessage
) -> None:
    """Put the calls of a whole answer into its message."""
    if not answer.calls:
        return
    if forms.legacy:
        first = answer.calls[0]
        message.function_call = FunctionCall(name=first.name, arguments=first.arguments)
        return
    message.tool_calls = [
        CalledCustom(id=call_id(number), custom=CustomCall(name=call.name, input=input_of(call.arguments)))
        if call.name in forms.custom
        else CalledFunction(id=call_id(number), function=FunctionCall(name=call.name, arguments=call.arguments))
        for number, call in enumerate(answer.calls)
    ]

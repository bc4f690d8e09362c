"""An item of a response while it is streamed: the events that begin, continue and end it."""

from collections.abc import Callable
from typing import Protocol

from handlers.openai.chat.tool_forms import input_of
from handlers.openai.responses.shown_items import reasoning_item
from jan.handler import NewBlock
from jan.schema.response_events import (
    ArgumentsDelta,
    ArgumentsDone,
    ContentPartAdded,
    ContentPartDone,
    CustomInputDelta,
    CustomInputDone,
    OutputItemAdded,
    OutputItemDone,
    OutputTextDelta,
    OutputTextDone,
    ReasoningTextDelta,
    ReasoningTextDone,
    ResponseBlock,
    ResponseEvent,
)
from jan.schema.response_items import (
    CustomCallOutput,
    FunctionCallOutput,
    ItemStatus,
    MessageOutput,
    ReasoningContent,
    ReasoningOutput,
    ShownItem,
    TextContent,
)
from jan.schema.sampling import TokenLogprob


class OpenItem(Protocol):
    """An item that grows."""

    def begin(self) -> list[ResponseEvent]:
        """Make the events that begin the item."""
        ...

    def add(self, text: str, logprobs: list[TokenLogprob]) -> list[ResponseEvent]:
        """Add text and make the events for it."""
        ...

    def end(self, status: ItemStatus) -> list[ResponseEvent]:
        """Make the events that end the item."""
        ...

    def whole(self, status: ItemStatus) -> ShownItem:
        """Return the item as far as it is."""
        ...


class TextItem:
    """A message of the assistant, at a number of the output."""

    def __init__(self, own: str, at: int) -> None:
        self._id = own
        self._at = at
        #: The texts so far. Whoever makes the event of a text in another way than ``add`` adds it here.
        self.texts: list[str] = []
        self._logprobs: list[TokenLogprob] = []

    def begin(self) -> list[ResponseEvent]:
        """Make the events that begin the message and its only part."""
        item = MessageOutput(id=self._id, status="in_progress", content=[])
        return [
            OutputItemAdded(output_index=self._at, item=item),
            ContentPartAdded(item_id=self._id, output_index=self._at, part=TextContent(text="")),
        ]

    def add(self, text: str, logprobs: list[TokenLogprob]) -> list[ResponseEvent]:
        """Add text and make the event of it."""
        self.texts.append(text)
        self._logprobs += logprobs
        return [OutputTextDelta(item_id=self._id, output_index=self._at, delta=text, logprobs=logprobs)]

    def delta_of(self, text: str) -> OutputTextDelta:
        """Return the event of a text, without adding it."""
        return OutputTextDelta(item_id=self._id, output_index=self._at, delta=text)

    def block_of(self, block: NewBlock) -> ResponseBlock:
        """Return the event of a block of the text."""
        return ResponseBlock(
            item_id=self._id, output_index=self._at, index=block.index, html=block.html, end=block.end
        )

    def end(self, status: ItemStatus) -> list[ResponseEvent]:
        """Make the events that end the part and the message."""
        item = self.whole(status)
        part = item.content[0]
        return [
            OutputTextDone(item_id=self._id, output_index=self._at, text=part.text, logprobs=part.logprobs),
            ContentPartDone(item_id=self._id, output_index=self._at, part=part),
            OutputItemDone(output_index=self._at, item=item),
        ]

    def whole(self, status: ItemStatus) -> MessageOutput:
        """Return the message as far as it is."""
        text = TextContent(text="".join(self.texts), logprobs=self._logprobs)
        return MessageOutput(id=self._id, status=status, content=[text])


class ReasoningItem:
    """The reasoning of a model, at a number of the output. ``encrypt`` is that of the translator."""

    def __init__(self, own: str, at: int, encrypt: Callable[[str], str] | None) -> None:
        self._id = own
        self._at = at
        self._encrypt = encrypt
        self._texts: list[str] = []

    def begin(self) -> list[ResponseEvent]:
        """Make the events that begin the reasoning and its only part."""
        item = ReasoningOutput(id=self._id, status="in_progress", content=[])
        return [
            OutputItemAdded(output_index=self._at, item=item),
            ContentPartAdded(item_id=self._id, output_index=self._at, part=ReasoningContent(text="")),
        ]

    def add(self, text: str, _logprobs: list[TokenLogprob]) -> list[ResponseEvent]:
        """Add reasoning and make the event of it."""
        self._texts.append(text)
        return [ReasoningTextDelta(item_id=self._id, output_index=self._at, delta=text)]

    def end(self, status: ItemStatus) -> list[ResponseEvent]:
        """Make the events that end the part and the reasoning."""
        item = self.whole(status)
        return [
            ReasoningTextDone(item_id=self._id, output_index=self._at, text=item.content[0].text),
            ContentPartDone(item_id=self._id, output_index=self._at, part=item.content[0]),
            OutputItemDone(output_index=self._at, item=item),
        ]

    def whole(self, status: ItemStatus) -> ReasoningOutput:
        """Return the reasoning as far as it is."""
        return reasoning_item(self._id, "".join(self._texts), status, self._encrypt)


class CallItem:
    """A call of a tool, at a number of the output. The input of a custom tool is read when it is complete.

    ``names``: the members of the item that name the tool.
    """

    def __init__(self, own: str, at: int, *, call: str, names: dict[str, str], custom: bool) -> None:
        self._id = own
        self._at = at
        self._call = call
        self._names = names
        self._custom = custom
        self._arguments: list[str] = []

    def begin(self) -> list[ResponseEvent]:
        """Make the event that begins the call."""
        return [OutputItemAdded(output_index=self._at, item=self.whole("in_progress"))]

    def add(self, text: str, _logprobs: list[TokenLogprob]) -> list[ResponseEvent]:
        """Add a piece of the arguments and make the event of it."""
        self._arguments.append(text)
        return [] if self._custom else [ArgumentsDelta(item_id=self._id, output_index=self._at, delta=text)]

    def end(self, status: ItemStatus) -> list[ResponseEvent]:
        """Make the events that end the call."""
        item = self.whole(status)
        done: list[ResponseEvent]
        if isinstance(item, CustomCallOutput):
            done = [
                CustomInputDelta(item_id=self._id, output_index=self._at, delta=item.input),
                CustomInputDone(item_id=self._id, output_index=self._at, input=item.input),
            ]
        else:
            done = [
                ArgumentsDone(item_id=self._id, output_index=self._at, name=item.name, arguments=item.arguments)
            ]
        return [*done, OutputItemDone(output_index=self._at, item=item)]

    def whole(self, status: ItemStatus) -> FunctionCallOutput | CustomCallOutput:
        """Return the call as far as it is."""
        arguments = "".join(self._arguments)
        if self._custom:
            text = input_of(arguments) if arguments else ""
            return CustomCallOutput(id=self._id, status=status, call_id=self._call, input=text, **self._names)
        return FunctionCallOutput(
            id=self._id, status=status, call_id=self._call, arguments=arguments, **self._names
        )

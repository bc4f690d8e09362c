"""Small conversations that are rendered to find out what a chat template can render.

Their contents are words that stand nowhere else, so a text shows whether the template has shown them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from jan.engine.prompts.environment import CompiledTemplate, TemplateTooCostly
from jan.engine.prompts.plain_messages import Entry
from jan.errors import ConfigurationError, InvalidRequest

LONG_ID, SHORT_ID, NINE_ID = "call_0123456789abcdef01234567", "1", "abcde1234"
KEY, VALUE, NAME, LISTED, RESULT_NAME = "keyqv", "valueqv", "nameqv", "listedqv", "resultqv"

TOOLS: tuple[Entry, ...] = (
    {
        "type": "function",
        "function": {
            "name": LISTED,
            "description": "Look.",
            "parameters": {
                "type": "object",
                "properties": {"place": {"type": "string", "description": "Where."}},
                "required": ["place"],
            },
        },
    },
)
UNDESCRIBED = tuple(
    {**tool, "function": {name: value for name, value in tool["function"].items() if name != "description"}}
    for tool in TOOLS
)


class TriedCall(msgspec.Struct, frozen=True):
    """A call, in the form that is tried.

    ``null``: the content of its message is null. ``as_text``: its arguments are JSON text. ``named``: its result
    has the function's name.
    """

    id: str
    null: bool
    as_text: bool
    named: bool

    def message(self) -> Entry:
        """Return the assistant's message with the call."""
        arguments = f'{{"{KEY}": "{VALUE}"}}' if self.as_text else {KEY: VALUE}
        function = {"name": NAME, "arguments": arguments}
        calls = [{"id": self.id, "type": "function", "function": function}]
        return {"role": "assistant", "content": None if self.null else "", "tool_calls": calls}

    def result(self, number: int) -> Entry:
        """Return the message with the result."""
        name = {"name": NAME} if self.named else {}
        return {**say("tool", number), "tool_call_id": self.id, **name}


def word_of(role: str, number: int = 1) -> str:
    """Return the content of a message."""
    return f"{role}qv{number}w"


def say(role: str, number: int = 1) -> Entry:
    """Return a message of this role."""
    return {"role": role, "content": word_of(role, number)}


def asked(number: int = 1) -> Entry:
    """Return a message of the user."""
    return say("user", number)


def in_parts(message: Entry) -> Entry:
    """Return a message whose content is two parts."""
    content = message["content"]
    return {**message, "content": [{"type": "text", "text": content}, {"type": "text", "text": f"{content}x"}]}


class Trial:
    """Renders conversations, to see what a template shows of them."""

    def __init__(self, template: CompiledTemplate, tokens: Mapping[str, str]) -> None:
        self.template = template
        self.tokens = tokens

    def render(self, messages: Sequence[Entry], tools: Sequence[Entry] = ()) -> str | None:
        """Return the text, None if the template refuses.

        Raises ConfigurationError for a template that uses too much even for these few messages.
        """
        variables = {"messages": messages, "tools": list(tools) or None, "documents": None}
        try:
            return self.template.render({**variables, "add_generation_prompt": True, **self.tokens})
        except TemplateTooCostly as error:
            reason = str(error.__cause__).rstrip(".")
            raise ConfigurationError(
                f"The model's chat template uses too much for {len(messages)} short messages: {reason}."
            ) from error
        except InvalidRequest:
            return None

    def shows(
        self, *messages: Entry, also: Sequence[str] = (), tools: Sequence[Entry] = (), as_parts: bool = False
    ) -> bool:
        """Return True if the text has the content of all messages, and the words of ``also``."""
        given = [in_parts(message) for message in messages] if as_parts else list(messages)
        text = self.render(given, tools)
        if text is None or (as_parts and ("'text'" in text or '"text"' in text)):
            return False
        words = [message["content"] for message in messages if message["content"]]
        words += [f"{word}x" for word in words] if as_parts else []
        return all(word in text for word in (*words, *also))


class TemplateOfParts(CompiledTemplate):
    """A template that takes content as parts only, given strings."""

    def __init__(self, template: CompiledTemplate) -> None:
        self.variables, self.words = template.variables, template.words
        self._given = template

    def render(self, variables: Mapping[str, Any]) -> str:
        """Render with every string of a message's content as a part."""
        messages = [
            {**message, "content": [{"type": "text", "text": message["content"]}]}
            if isinstance(message["content"], str)
            else message
            for message in variables["messages"]
        ]
        return self._given.render({**variables, "messages": messages})

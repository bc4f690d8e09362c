"""Conversations with tools, made from a number, each in Anthropic's form and in that of responses."""

import json
import random
from typing import Any

Json = dict[str, Any]

_WORDS = (
    "sun",
    "Überfluß",
    "naïve",
    "日本語",
    "مرحبا",
    "🙂👩‍👩‍👧",
    "a\tb",
    "x\n\ny",
    "<think>",
    "<|im_start|>",
    '"{}"',
    "\u2028",
    "0",
)
_TOOLS = ("list_files", "weather", "add")
_TYPES = ("string", "integer", "boolean")


class Conversation:
    """A conversation of ``number``: instructions, turns, tools, calls and their results.

    Some texts are empty. What one form calls a block is an item in the other.
    """

    def __init__(self, number: int) -> None:
        self._draw = random.Random(number)
        self.calls = 0
        self.system = self._text() if self._draw.random() < 0.5 else None
        self.tools = [self._tool(name) for name in _TOOLS[: self._draw.randrange(len(_TOOLS) + 1)]]
        self._turns: list[Json] = []
        self._items: list[Json] = []
        for _ in range(self._draw.randrange(4)):
            self._exchange()
        self._user(self._text(empty=False))

    def _text(self, *, empty: bool = True) -> str:
        return " ".join(self._draw.choices(_WORDS, k=self._draw.randrange(0 if empty else 1, 8)))

    def _tool(self, name: str) -> Json:
        fields = {f"{name}_{n}": {"type": self._draw.choice(_TYPES)} for n in range(self._draw.randrange(3))}
        schema = {"type": "object", "properties": fields, "required": list(fields)[:1]}
        return {"name": name, "description": self._text(), "input_schema": schema}

    def _exchange(self) -> None:
        """Add a question, and either an answer or calls with their results."""
        self._user(self._text())
        text = self._text()
        if not self.tools or self._draw.random() < 0.4:
            self._turns.append({"role": "assistant", "content": text})
            self._items.append({"role": "assistant", "content": text})
            return
        calls = [self._call() for _ in range(self._draw.randrange(1, 3))]
        said = [{"type": "text", "text": text}] if text else []
        self._turns.append({"role": "assistant", "content": [*said, *calls]})
        if text:
            self._items.append({"role": "assistant", "content": text})
        for call in calls:
            arguments = json.dumps(call["input"])
            about = {"call_id": call["id"], "name": call["name"], "arguments": arguments}
            self._items.append({"type": "function_call", **about})
        self._results(calls)

    def _call(self) -> Json:
        self.calls += 1
        tool = self._draw.choice(self.tools)
        given = {name: self._text() for name in tool["input_schema"]["properties"]}
        return {"type": "tool_use", "id": f"toolu_{self.calls}", "name": tool["name"], "input": given}

    def _results(self, calls: list[Json]) -> None:
        blocks = []
        for call in calls:
            text = self._text()
            content: Any = text if self._draw.random() < 0.5 else [{"type": "text", "text": text}]
            blocks.append({"type": "tool_result", "tool_use_id": call["id"], "content": content})
            self._items.append({"type": "function_call_output", "call_id": call["id"], "output": text})
        self._turns.append({"role": "user", "content": blocks})

    def _user(self, text: str) -> None:
        if self._draw.random() < 0.5:
            self._turns.append({"role": "user", "content": text})
            self._items.append({"role": "user", "content": text})
            return
        self._turns.append({"role": "user", "content": [{"type": "text", "text": text}]})
        parts = [{"type": "input_text", "text": text}]
        self._items.append({"type": "message", "role": "user", "content": parts})

    def as_messages(self) -> Json:
        """Return the prompt as Anthropic's clients send it."""
        system = {} if self.system is None else {"system": self.system}
        return {**system, **({"tools": self.tools} if self.tools else {}), "messages": self._turns}

    def as_response(self) -> Json:
        """Return the prompt as clients of responses send it."""
        instructions = {} if self.system is None else {"instructions": self.system}
        tools = [
            {
                "type": "function",
                "name": tool["name"],
                "description": tool["description"],
                "parameters": tool["input_schema"],
            }
            for tool in self.tools
        ]
        return {**instructions, **({"tools": tools} if tools else {}), "input": self._items}

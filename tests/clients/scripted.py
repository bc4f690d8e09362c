"""A hook with which an echo model does as a model would: it calls a tool, and says its result."""

import json
import re
from typing import Any

import msgspec

from jan.handler import Hook, HookContext, ModelRequest
from jan.schema.messages import ToolMessage, UserMessage

WEATHER = {"city": "Paris"}
# By the name of a tool: the arguments of its call.
CALLS: dict[str, dict[str, Any]] = {
    "get_weather": WEATHER,
    "exec_command": {"cmd": "ls"},
    "shell": {"command": ["ls"]},
    "Bash": {"command": "ls", "description": "List the files"},
    "mcp__shelf__read_shelf": {},
}
_DSPY_FIELD = re.compile(r"\[\[ ## answer ## \]\]")


class Scripted(Hook):
    """Replaces the messages for the model `scripted` by one: what it is to say."""

    async def before(self, context: HookContext, request: ModelRequest) -> ModelRequest | None:
        """Return the request with the text that the echo model repeats."""
        prompts = [sequence.prompt for sequence in request.sequences]
        if request.model != "scripted" or not all(hasattr(prompt, "messages") for prompt in prompts):
            return None
        sequences = tuple(
            msgspec.structs.replace(
                sequence,
                prompt=msgspec.structs.replace(
                    sequence.prompt, messages=(UserMessage(content=_answer(sequence.prompt)),), stored_messages=0
                ),
            )
            for sequence in request.sequences
        )
        return msgspec.structs.replace(request, sequences=sequences)


def _answer(prompt: Any) -> str:
    results = [message for message in prompt.messages if isinstance(message, ToolMessage)]
    if results:
        return _text(results[-1].content)
    text = _text(next(one.content for one in reversed(prompt.messages) if isinstance(one, UserMessage)))
    names = [tool.function.name for tool in prompt.tools if tool.function.name in CALLS]
    # A tool that the user names goes before others.
    for name in sorted(names, key=lambda name: name.rpartition("__")[2] not in text):
        return f"<tool_call>\n{json.dumps({'name': name, 'arguments': CALLS[name]})}\n</tool_call>"
    # DSPy asks for its fields by their names.
    if _DSPY_FIELD.search(text):
        return "[[ ## answer ## ]]\nHello, dear server!\n\n[[ ## completed ## ]]"
    return text


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(getattr(part, "text", "") for part in content or ())

"""How a model writes tool calls and reasoning, as its chat template shows it."""

import re
from typing import Literal

import msgspec

ToolFormat = Literal["hermes", "llama3", "mistral", "mistral_args"]
ToolFormatOption = Literal["auto", "hermes", "llama3", "mistral"]
ReasoningOption = Literal["auto", "off"]

# What opens and closes a call in the Hermes form, which is Qwen's as well.
CALL_OPEN = "<tool_call>"
CALL_CLOSE = "</tool_call>"
# Mistral's, before a list of calls, or before each name, which ARGS_MARK then parts from its arguments.
MISTRAL_MARK = "[TOOL_CALLS]"
ARGS_MARK = "[ARGS]"
# Llama 3's, before a call; it may be left out.
PYTHON_MARK = "<|python_tag|>"

THINK_OPEN = "<think>"
THINK_CLOSE = "</think>"

_LLAMA_CALL = re.compile(r'\\?"parameters\\?"\s*:')


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """The form of a model's answers. ``reasoning``: it thinks in blocks, which are told apart from the content;
    ``begins_inside``: the prompt has opened such a block."""

    tools: ToolFormat = "hermes"
    reasoning: bool = False
    begins_inside: bool = False

    def after(self, prompt: str) -> "Dialect":
        """The dialect of an answer to a prompt, which may end with what opens a block."""
        opened = self.reasoning and prompt.rstrip().endswith(THINK_OPEN)
        return msgspec.structs.replace(self, begins_inside=opened)

    def going_on(self, begun: str) -> "Dialect":
        """The same where the answer goes on with what is ``begun``: no block begins after that."""
        inside = self.reasoning and begun.rfind(THINK_OPEN) > begun.rfind(THINK_CLOSE)
        return msgspec.structs.replace(self, reasoning=inside, begins_inside=inside)

    @property
    def variants(self) -> tuple["Dialect", ...]:
        """Itself, and all else that ``after`` and ``going_on`` can make of it."""
        if not self.reasoning:
            return (self,)
        inside = msgspec.structs.replace(self, begins_inside=True)
        return self, inside, msgspec.structs.replace(self, reasoning=False, begins_inside=False)


# Text that is no chat: one form is as good as another, and nothing is reasoning.
PLAIN = Dialect()


def dialect_of(
    template: str, tool_format: ToolFormatOption = "auto", reasoning: ReasoningOption = "auto"
) -> Dialect:
    """The dialect that a template's source shows, as far as the options leave it open."""
    thinks = reasoning == "auto" and THINK_CLOSE in template
    if tool_format in ("hermes", "llama3"):
        return Dialect(tools=tool_format, reasoning=thinks)
    shown = _shown_format(template)
    if tool_format == "mistral":
        return Dialect(tools="mistral_args" if shown == "mistral_args" else "mistral", reasoning=thinks)
    return Dialect(tools=shown or "hermes", reasoning=thinks)


def takes_tools(template: str, dialect: Dialect) -> bool:
    """Whether a template renders tools, and their calls in the dialect's form."""
    return "tools" in template and dialect.tools == _shown_format(template)


def _shown_format(template: str) -> ToolFormat | None:
    if CALL_OPEN in template:
        return "hermes"
    if MISTRAL_MARK in template:
        return "mistral_args" if ARGS_MARK in template else "mistral"
    if "<|start_header_id|>" in template and "tool_calls" in template and _LLAMA_CALL.search(template):
        return "llama3"
    return None

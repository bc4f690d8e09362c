"""Dialects: how a model writes tool calls and reasoning, read from its chat template."""

import re
from typing import Literal

import msgspec

ToolFormat = Literal["hermes", "llama3", "mistral", "mistral_args"]
ToolFormatOption = Literal["auto", "hermes", "llama3", "mistral"]
ReasoningOption = Literal["auto", "off"]

# Around a call in the Hermes form, which Qwen uses too.
CALL_OPEN = "<tool_call>"
CALL_CLOSE = "</tool_call>"
# Mistral: before a list of calls, or before each name. ARGS_MARK then separates the name from the arguments.
MISTRAL_MARK = "[TOOL_CALLS]"
ARGS_MARK = "[ARGS]"
# Llama 3: before a call; optional.
PYTHON_MARK = "<|python_tag|>"

THINK_OPEN = "<think>"
THINK_CLOSE = "</think>"

_LLAMA_CALL = re.compile(r'\\?"parameters\\?"\s*:')


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """The form of a model's answers.

    ``tools``: the form of tool calls. ``reasoning``: an answer may begin with a block of reasoning.
    ``begins_inside``: the prompt has already opened that block.
    """

    tools: ToolFormat = "hermes"
    reasoning: bool = False
    begins_inside: bool = False

    def after_prompt(self, prompt: str) -> "Dialect":
        """Return the dialect of the answer to a rendered prompt, which may end with an opened block."""
        opened = self.reasoning and prompt.rstrip().endswith(THINK_OPEN)
        return msgspec.structs.replace(self, begins_inside=opened)

    def continuing(self, begun: str) -> "Dialect":
        """Return the dialect of an answer that continues the text ``begun``: no new block begins in it."""
        inside = self.reasoning and begun.rfind(THINK_OPEN) > begun.rfind(THINK_CLOSE)
        return msgspec.structs.replace(self, reasoning=inside, begins_inside=inside)

    @property
    def variants(self) -> tuple["Dialect", ...]:
        """All dialects that ``after_prompt`` and ``continuing`` can return, including this one."""
        if not self.reasoning:
            return (self,)
        inside = msgspec.structs.replace(self, begins_inside=True)
        return self, inside, msgspec.structs.replace(self, reasoning=False, begins_inside=False)


# For prompts that are no chats: there are no tool calls, and nothing is reasoning.
PLAIN = Dialect()


def dialect_of(
    template: str, tool_format: ToolFormatOption = "auto", reasoning: ReasoningOption = "auto"
) -> Dialect:
    """Return the dialect that a chat template's source shows, unless the options say otherwise."""
    thinks = reasoning == "auto" and THINK_CLOSE in template
    if tool_format in ("hermes", "llama3"):
        return Dialect(tools=tool_format, reasoning=thinks)
    shown = _shown_format(template)
    if tool_format == "mistral":
        return Dialect(tools="mistral_args" if shown == "mistral_args" else "mistral", reasoning=thinks)
    return Dialect(tools=shown or "hermes", reasoning=thinks)


def takes_tools(template: str, dialect: Dialect) -> bool:
    """Return True if a template renders tools, and their calls in the dialect's form."""
    return "tools" in template and dialect.tools == _shown_format(template)


def _shown_format(template: str) -> ToolFormat | None:
    if CALL_OPEN in template:
        return "hermes"
    if MISTRAL_MARK in template:
        return "mistral_args" if ARGS_MARK in template else "mistral"
    if "<|start_header_id|>" in template and "tool_calls" in template and _LLAMA_CALL.search(template):
        return "llama3"
    return None

"""The dialect of one answer: which form its calls have, and whether it begins with reasoning."""

from typing import Literal

import msgspec

from jan.engine.prompts.dialects.forms import CallForm, ReasoningForm, ReasoningFormat
from jan.engine.prompts.dialects.known_forms import CALLS, REASONING, ToolFormat

ToolFormatOption = Literal["auto", ToolFormat]
ReasoningOption = Literal["auto", "off"]


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """The form of a model's answers, by the names of its forms in the tables.

    ``tools``: the form of tool calls. ``reasoning``: the form of the block of reasoning that an answer may begin
    with; '' without one. ``begins_inside``: the prompt has already opened that block.
    """

    tools: ToolFormat = "hermes"
    reasoning: ReasoningFormat = ""
    begins_inside: bool = False

    @property
    def calls(self) -> CallForm:
        """How calls are written."""
        return CALLS[self.tools]

    @property
    def thoughts(self) -> ReasoningForm | None:
        """The marks around reasoning; None if an answer has none."""
        return REASONING[self.reasoning] if self.reasoning else None

    def after_prompt(self, prompt: str) -> "Dialect":
        """Return the dialect of the answer to a rendered prompt, which may end with an opened block."""
        opened = self.thoughts is not None and prompt.rstrip().endswith(self.thoughts.open.rstrip())
        return msgspec.structs.replace(self, begins_inside=opened)

    def continuing(self, begun: str) -> "Dialect":
        """Return the dialect of an answer that continues the text ``begun``: no new block begins in it."""
        marks = self.thoughts
        inside = marks is not None and begun.rfind(marks.open) > begun.rfind(marks.close)
        reasoning = self.reasoning if inside else ""
        return msgspec.structs.replace(self, reasoning=reasoning, begins_inside=inside)

    @property
    def variants(self) -> tuple["Dialect", ...]:
        """All dialects that ``after_prompt`` and ``continuing`` can return, including this one."""
        if not self.reasoning:
            return (self,)
        inside = msgspec.structs.replace(self, begins_inside=True)
        return self, inside, msgspec.structs.replace(self, reasoning="", begins_inside=False)


# For prompts that are no chats: there are no tool calls, and nothing is reasoning.
PLAIN = Dialect()

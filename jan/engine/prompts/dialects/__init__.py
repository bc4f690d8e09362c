"""Dialects: how a model writes tool calls and reasoning.

``known_forms`` has the tables of forms, ``forms`` the words in which they are written. ``spelling`` writes a call
as text, ``recognition`` finds the dialect that a chat template shows. ``dialect`` is what a running answer knows.
"""

from jan.engine.prompts.dialects.dialect import PLAIN, Dialect, ReasoningOption, ToolFormatOption
from jan.engine.prompts.dialects.forms import CallForm, ReasoningForm, ReasoningFormat
from jan.engine.prompts.dialects.known_forms import ToolFormat
from jan.engine.prompts.dialects.recognition import ShownCall, dialect_named, dialect_of, hinted_form, shown_form
from jan.engine.prompts.dialects.spelling import call_as_text, example_call

__all__ = [
    "PLAIN",
    "CallForm",
    "Dialect",
    "ReasoningForm",
    "ReasoningFormat",
    "ReasoningOption",
    "ShownCall",
    "ToolFormat",
    "ToolFormatOption",
    "call_as_text",
    "dialect_named",
    "dialect_of",
    "example_call",
    "hinted_form",
    "shown_form",
]

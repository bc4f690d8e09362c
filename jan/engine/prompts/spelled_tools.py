"""Tools for models whose chat template has none: definitions, calls and results as text."""

import json
from collections.abc import Sequence
from typing import Any

from jan.engine.prompts.dialects import CallForm, call_as_text, example_call
from jan.engine.prompts.plain_messages import plain_text

_INSTRUCTIONS = """\
You may call one or more functions to help with the user's request.
The functions are described here as JSON schemas:
<tools>
{tools}
</tools>
{how}
{call}"""
_HOW = "To call a function, answer with a JSON object of its name and arguments between tags:"
_HOW_BARE = "To call a function, answer with nothing but its name and arguments in this form:"


def spelled_messages(messages: Sequence[dict[str, Any]], form: CallForm) -> list[dict[str, Any]]:
    """Return messages in which calls and results are text, for a template that shows none."""
    spelled = []
    for message in messages:
        if message["role"] == "tool":
            result = plain_text(message["content"])
            spelled.append({"role": "user", "content": f"<tool_response>\n{result}\n</tool_response>"})
        elif "tool_calls" in message:
            rest = {name: value for name, value in message.items() if name != "tool_calls"}
            spelled.append({**rest, "content": _with_calls(message, form)})
        else:
            spelled.append(message)
    return spelled


def _with_calls(message: dict[str, Any], form: CallForm) -> str:
    lines = [plain_text(message["content"])]
    for call in message["tool_calls"]:
        lines.append(call_as_text(form, call["function"]["name"], call["function"]["arguments"]))
    return "\n".join(lines).strip("\n")


def instructions_for(tools: Sequence[dict[str, Any]], form: CallForm) -> str:
    """Return what a model without tools in its template is told about them."""
    return _INSTRUCTIONS.format(
        tools="\n".join(json.dumps(tool["function"], ensure_ascii=False) for tool in tools),
        how=_HOW if form.argument is None and form.mark == "<tool_call>" else _HOW_BARE,
        call=example_call(form),
    )

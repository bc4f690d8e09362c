"""The prompt side: messages and tools through a model's chat template, in a sandbox."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NoReturn

import jinja2
import msgspec
from jinja2.sandbox import ImmutableSandboxedEnvironment

from jan.engine.base import ChatPrompt
from jan.errors import InvalidRequest
from jan.schema.chat import Tool
from jan.schema.messages import (
    AssistantMessage,
    FunctionMessage,
    Message,
    RefusalPart,
    TextPart,
    ToolMessage,
    UserPart,
)

# How a call of a tool is written in a prompt and in an answer (the Hermes form, as Qwen has it).
CALL_OPEN = "<tool_call>"
CALL_CLOSE = "</tool_call>"

_INSTRUCTIONS = """\
You may call one or more functions to help with the user's request.
The functions are described here as JSON schemas:
<tools>
{tools}
</tools>
To call a function, answer with a JSON object of its name and arguments between tags:
<tool_call>
{{"name": "<function name>", "arguments": <arguments as a JSON object>}}
</tool_call>"""


def text_of(content: str | Sequence[UserPart | RefusalPart] | None, where: str) -> str:
    """The text of a message's content; raises InvalidRequest for a part that is not text."""
    if content is None or isinstance(content, str):
        return content or ""
    texts = []
    for index, part in enumerate(content):
        if isinstance(part, TextPart):
            texts.append(part.text)
        elif isinstance(part, RefusalPart):
            texts.append(part.refusal)
        else:
            raise InvalidRequest(
                f"this model takes text only, not parts of type '{type(part).__struct_config__.tag}'",
                code="unsupported_content",
                param=f"{where}[{index}]",
            )
    return "".join(texts)


def plain_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages as chat templates expect them: roles system, user, assistant, tool; content as text."""
    plain: list[dict[str, Any]] = []
    for index, message in enumerate(messages):
        role = str(message.__struct_config__.tag)
        entry: dict[str, Any] = {"role": {"developer": "system", "function": "tool"}.get(role, role)}
        entry["content"] = text_of(message.content, f"messages[{index}].content")
        if isinstance(message, AssistantMessage):
            entry["content"] = entry["content"] or message.refusal or ""
            if message.tool_calls:
                entry["tool_calls"] = [
                    {"type": "function", "id": call.id, "function": _call(call.function)}
                    for call in message.tool_calls
                ]
        elif isinstance(message, ToolMessage):
            entry["tool_call_id"] = message.tool_call_id
        elif isinstance(message, FunctionMessage):
            entry["name"] = message.name
        plain.append(entry)
    return plain


def _call(function: Any) -> dict[str, Any]:
    """A call with its arguments as an object, which is what templates print; as text if it is no JSON, or
    nested too deeply to be read."""
    try:
        arguments = json.loads(function.arguments)
    except (ValueError, RecursionError):
        arguments = function.arguments
    return {"name": function.name, "arguments": arguments}


class ChatTemplate:
    """A model's own chat template. Tools go to it if it speaks our call form, else into the instructions."""

    def __init__(self, source: str, bos_token: str = "", eos_token: str = "") -> None:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = lambda pattern: datetime.now().strftime(pattern)
        environment.filters["tojson"] = _to_json
        self._template = environment.from_string(source)
        self._tokens = {"bos_token": bos_token, "eos_token": eos_token}
        self._takes_tools = "tools" in source and CALL_OPEN in source

    def render(self, prompt: ChatPrompt) -> str:
        """The prompt's text; raises InvalidRequest where the template refuses the messages."""
        messages = plain_messages(prompt.messages)
        tools = [msgspec.to_builtins(tool) for tool in prompt.tools]
        if not self._takes_tools:
            messages, tools = _spelled_out(messages, prompt.tools), []
        try:
            return self._template.render(
                messages=messages, tools=tools or None, add_generation_prompt=True, **self._tokens
            )
        except (
            jinja2.TemplateError,
            TypeError,
            KeyError,
            ValueError,
            OverflowError,
            RecursionError,
        ) as error:
            raise InvalidRequest(
                f"the model's chat template does not take these messages: {error}",
                code="unsupported_messages",
                param="messages",
            ) from error


def _spelled_out(messages: list[dict[str, Any]], tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """The same conversation for a template that knows nothing of tools: all of it as text."""
    spelled = []
    for message in messages:
        content, role = message["content"], message["role"]
        if role == "tool":
            role, content = "user", f"<tool_response>\n{content}\n</tool_response>"
        for call in message.get("tool_calls", ()):
            content += f"\n{CALL_OPEN}\n{json.dumps(call['function'])}\n{CALL_CLOSE}"
        spelled.append({"role": role, "content": content.strip("\n") if role == "assistant" else content})
    if tools:
        lines = "\n".join(json.dumps(msgspec.to_builtins(tool.function)) for tool in tools)
        instructions = _INSTRUCTIONS.format(tools=lines)
        if spelled and spelled[0]["role"] == "system":
            spelled[0]["content"] += "\n\n" + instructions
        else:
            spelled.insert(0, {"role": "system", "content": instructions})
    return spelled


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _to_json(value: Any, indent: int | None = None) -> str:
    # Jinja's own filter escapes <, > and & for HTML, which is not what a model was trained on.
    return json.dumps(value, ensure_ascii=False, indent=indent)

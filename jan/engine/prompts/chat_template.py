"""Render messages and tools with a model's chat template, in a Jinja sandbox."""

import json
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NoReturn

import jinja2
import msgspec
from jinja2.sandbox import ImmutableSandboxedEnvironment

from jan.engine.base import ChatPrompt
from jan.engine.prompts.dialects import (
    ARGS_MARK,
    CALL_CLOSE,
    CALL_OPEN,
    MISTRAL_MARK,
    Dialect,
    ReasoningOption,
    ToolFormat,
    ToolFormatOption,
    dialect_of,
    takes_tools,
)
from jan.engine.refusals import reason_of
from jan.errors import ConfigurationError, InvalidRequest
from jan.schema.chat import Tool
from jan.schema.messages import (
    AssistantMessage,
    FunctionMessage,
    Message,
    OnlyTextPart,
    RefusalPart,
    TextPart,
    ToolMessage,
    UserPart,
)

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


def text_of(content: str | Sequence[UserPart | RefusalPart | OnlyTextPart] | None, where: str) -> str:
    """Return the text of a message's content. Raises InvalidRequest for a part that is not text."""
    if content is None or isinstance(content, str):
        return content or ""
    texts = []
    for index, part in enumerate(content):
        if isinstance(part, TextPart | OnlyTextPart):
            texts.append(part.text)
        elif isinstance(part, RefusalPart):
            texts.append(part.refusal)
        else:
            raise InvalidRequest(
                f"This model takes text only, not parts of type '{type(part).__struct_config__.tag}'.",
                code="unsupported_content",
                param=f"{where}[{index}]",
            )
    return "".join(texts)


def plain_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return messages as chat templates expect them: roles system, user, assistant, tool; content as text."""
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
    """Return a call with its arguments as an object, which templates print.

    The arguments stay text if they are not JSON, or nested too deeply to be read.
    """
    try:
        arguments = json.loads(function.arguments)
    except (ValueError, RecursionError):
        arguments = function.arguments
    return {"name": function.name, "arguments": arguments}


class ChatTemplate:
    """A model's chat template. ``dialect``: how the model writes tool calls and reasoning.

    Tools are passed to the template if it renders calls in the dialect's form. Otherwise they are written as text
    into the system message.

    Usage::

        template = ChatTemplate(source, bos_token="<s>")
        text = template.render(prompt)
        dialect = template.answer_dialect(prompt, text)

    Args:
        source: the template in Jinja.
        bos_token, eos_token: the text of these tokens, for the template.
        tool_format, reasoning: settings that override what the template shows.

    Raises:
        ConfigurationError: if the source is not valid Jinja.
    """

    def __init__(
        self,
        source: str,
        bos_token: str = "",
        eos_token: str = "",
        *,
        tool_format: ToolFormatOption = "auto",
        reasoning: ReasoningOption = "auto",
    ) -> None:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = lambda pattern: datetime.now().strftime(pattern)
        environment.filters["tojson"] = _to_json
        try:
            self._template = environment.from_string(source)
        except jinja2.TemplateSyntaxError as error:
            raise ConfigurationError(
                f"The model's chat template can't be read, line {error.lineno}: {str(error.message).rstrip('.')}."
            ) from error
        self._tokens = {"bos_token": bos_token, "eos_token": eos_token}
        self.dialect = dialect_of(source, tool_format, reasoning)
        self._takes_tools = takes_tools(source, self.dialect)

    def render(self, prompt: ChatPrompt) -> str:
        """Return the prompt's text. Raises InvalidRequest if the template refuses the messages."""
        messages = plain_messages(prompt.messages)
        tools = [msgspec.to_builtins(tool) for tool in prompt.tools]
        if not self._takes_tools:
            messages, tools = _tools_as_text(messages, prompt.tools, self.dialect.tools), []
        if not prompt.continue_final_message:
            return self._render(messages, tools, prompt.add_generation_prompt)
        # A marker that nobody can guess. Where it is rendered, the message ends and its closing tokens begin.
        end = secrets.token_hex(16)
        messages[-1]["content"] += end
        text, found, _ = self._render(messages, tools, False).rpartition(end)
        if not found:
            raise _unsupported("it does not show the last message, which is to be continued")
        return text

    def answer_dialect(self, prompt: ChatPrompt, text: str) -> Dialect:
        """Return the dialect of the answer to a prompt that was rendered as ``text``."""
        if not prompt.continue_final_message:
            return self.dialect.after_prompt(text)
        return self.dialect.continuing(plain_messages(prompt.messages[-1:])[0]["content"])

    def _render(self, messages: list[dict[str, Any]], tools: list[Any], generation_prompt: bool) -> str:
        try:
            return self._template.render(
                messages=messages, tools=tools or None, add_generation_prompt=generation_prompt, **self._tokens
            )
        except (
            jinja2.TemplateError,
            TypeError,
            KeyError,
            ValueError,
            OverflowError,
            RecursionError,
        ) as error:
            raise _unsupported(reason_of(error)) from error


def _unsupported(reason: str) -> InvalidRequest:
    return InvalidRequest(
        f"The model's chat template does not take these messages: {reason}.",
        code="unsupported_messages",
        param="messages",
    )


def _tools_as_text(
    messages: list[dict[str, Any]], tools: Sequence[Tool], form: ToolFormat
) -> list[dict[str, Any]]:
    """Return the messages for a template without tools: tools, calls and results become text."""
    spelled = []
    for message in messages:
        content, role = message["content"], message["role"]
        if role == "tool":
            role, content = "user", f"<tool_response>\n{content}\n</tool_response>"
        for call in message.get("tool_calls", ()):
            function = call["function"]
            content += "\n" + call_as_text(form, json.dumps(function["name"]), json.dumps(function["arguments"]))
        spelled.append({"role": role, "content": content.strip("\n") if role == "assistant" else content})
    if tools:
        lines = "\n".join(json.dumps(msgspec.to_builtins(tool.function)) for tool in tools)
        instructions = _INSTRUCTIONS.format(
            tools=lines,
            how=_HOW if form == "hermes" else _HOW_BARE,
            call=call_as_text(form, '"<function name>"', "<arguments as a JSON object>"),
        )
        if spelled and spelled[0]["role"] == "system":
            spelled[0]["content"] += "\n\n" + instructions
        else:
            spelled.insert(0, {"role": "system", "content": instructions})
    return spelled


def call_as_text(form: ToolFormat, name: str, arguments: str) -> str:
    """Return a call as the model must write it. ``name`` and ``arguments`` are JSON."""
    if form == "llama3":
        return f'{{"name": {name}, "parameters": {arguments}}}'
    if form == "mistral":
        return f'{MISTRAL_MARK}[{{"name": {name}, "arguments": {arguments}}}]'
    if form == "mistral_args":
        return f"{MISTRAL_MARK}{name[1:-1]}{ARGS_MARK}{arguments}"
    return f'{CALL_OPEN}\n{{"name": {name}, "arguments": {arguments}}}\n{CALL_CLOSE}'


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _to_json(value: Any, indent: int | None = None) -> str:
    # Not Jinja's own filter: it escapes <, > and & for HTML, and no model was trained on that.
    return json.dumps(value, ensure_ascii=False, indent=indent)

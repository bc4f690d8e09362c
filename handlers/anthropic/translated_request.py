"""Turns a request of Anthropic's form into a chat completion request, so that the same rules hold for both."""

from itertools import chain
from types import MappingProxyType
from typing import Any

from handlers.anthropic.message_prompt import messages_of
from handlers.openai.client_names import ClientNames
from handlers.openai.sampling import refused
from jan.schema.anthropic import JsonSchemaOfMessages, MessagesRequest, PromptOfMessages, ToolOfMessages
from jan.schema.anthropic_blocks import DocumentBlock
from jan.schema.chat import ChatCompletionRequest
from jan.schema.messages import AssistantMessage, Message
from jan.schema.output_formats import JsonSchema, JsonSchemaFormat
from jan.schema.tools import ChosenFunction, FunctionDefinition, FunctionTool, NamedToolChoice, ToolChoice

_CHOICES = MappingProxyType[str, ToolChoice]({"auto": "auto", "any": "required", "none": "none"})
# Parts of a path, or whole names, by what they are called here.
_NAMES = MappingProxyType(
    {
        ".function.parameters": ".input_schema",
        ".function.name": ".name",
        "response_format.json_schema.schema": "response_format.schema",
        "continue_final_message": "messages",
        "enable_thinking": "thinking",
        "reasoning_effort": "output_config.effort",
        "type 'image_url'": "type 'image'",
        "type 'file'": "type 'document'",
    }
)


class TranslatedRequest:
    """A request in OpenAI's form, and the names that its parts have in Anthropic's. Raises InvalidRequest.

    Attributes:
        chat: the request.
        ignored: names of what nothing here uses.
        asks_cache: usage tells what was read from the cache.
        names: the names that the client knows.
    """

    def __init__(self, body: PromptOfMessages) -> None:
        placed = messages_of(body)
        numbers = [number for number, tool in enumerate(body.tools or ()) if tool.type in (None, "custom")]
        output, place = _format_of(body)
        self.names = ClientNames({**_NAMES, "response_format": place})
        self.names.places = {"messages": placed.places, "tools": [f"tools[{number}]" for number in numbers]}
        self.ignored = [*_ignored_of(body, numbers), *placed.ignored]
        self.asks_cache = _asks_cache(body)
        tools = [_tool(body.tools[number], number) for number in numbers] if body.tools else []
        self.chat = ChatCompletionRequest(
            model=body.model,
            messages=list(placed.messages),
            continue_final_message=_is_prefilled(placed.messages) or None,
            tools=list(tools) or None,
            tool_choice=_choice_of(body, has_tools=bool(tools)),
            **_reasoning_of(body),
        )
        if body.tool_choice is not None:
            self.chat.parallel_tool_calls = not body.tool_choice.disable_parallel_tool_use
        if output is not None:
            self.chat.response_format = JsonSchemaFormat(json_schema=JsonSchema(schema=output.schema))
        if isinstance(body, MessagesRequest):
            for name in ("max_tokens", "temperature", "top_k", "top_p", "stream"):
                setattr(self.chat, name, getattr(body, name))
            self.chat.stop = body.stop_sequences or None


def _format_of(body: PromptOfMessages) -> tuple[JsonSchemaOfMessages | None, str]:
    """Return the form of the answer, and where the request has it. Raises InvalidRequest for two forms."""
    newer = None if body.output_config is None else body.output_config.format
    if newer is not None and body.output_format not in (None, newer):
        raise refused("output_format", "It is another name of output_config.format, which has another value.")
    if newer is None and body.output_format is not None:
        return body.output_format, "output_format"
    return newer, "output_config.format"


def _ignored_of(body: PromptOfMessages, numbers: list[int]) -> list[str]:
    ignored = [f"tools[{number}]" for number in range(len(body.tools or ())) if number not in numbers]
    if body.thinking is not None and body.thinking.budget_tokens is not None:
        ignored.append("thinking.budget_tokens")
    return ignored


def _asks_cache(body: PromptOfMessages) -> bool:
    """Return True if the request has a ``cache_control`` anywhere."""
    system = body.system if isinstance(body.system, list) else []
    contents = [turn.content for turn in body.messages if isinstance(turn.content, list)]
    return any(map(_is_marked, (body, *(body.tools or ()), *system, *chain.from_iterable(contents))))


def _is_marked(one: Any) -> bool:
    """Return True if a part of a request, or a block inside it, has a ``cache_control``."""
    if isinstance(one, dict):
        return one.get("cache_control") is not None
    if getattr(one, "cache_control", None) is not None:
        return True
    inner = one.source.get("content") if isinstance(one, DocumentBlock) else getattr(one, "content", None)
    return isinstance(inner, list) and any(map(_is_marked, inner))


def _is_prefilled(messages: tuple[Message, ...]) -> bool:
    last = messages[-1]
    return isinstance(last, AssistantMessage) and bool(last.content)


def _reasoning_of(body: PromptOfMessages) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if body.thinking is not None:
        found["enable_thinking"] = body.thinking.type != "disabled"
    if body.output_config is not None and body.output_config.effort is not None:
        found["reasoning_effort"] = body.output_config.effort
    return found


def _choice_of(body: PromptOfMessages, *, has_tools: bool) -> ToolChoice | None:
    choice = body.tool_choice
    if choice is None:
        return None
    if choice.type != "tool":
        return _CHOICES[choice.type] if has_tools or choice.type == "any" else None
    if choice.name is None:
        raise refused("tool_choice.name", "Required with the type tool.")
    return NamedToolChoice(function=ChosenFunction(name=choice.name))


def _tool(tool: ToolOfMessages, number: int) -> FunctionTool:
    if tool.input_schema is None:
        raise refused(f"tools[{number}].input_schema", "Required for a tool that the client runs.")
    function = FunctionDefinition(
        name=tool.name, description=tool.description, parameters=tool.input_schema, strict=tool.strict
    )
    found = FunctionTool(function=function)
    shown = {"name": tool.name, "description": tool.description, "parameters": tool.input_schema}
    kept = {name: value for name, value in shown.items() if value is not None}
    found.keep_written({"type": "function", "function": kept})
    return found

"""Turns all forms of tools and tool choices into the functions that a model may call.

A custom tool takes a text. To the model it is a function with that text as its only argument.
"""

import re
from typing import Any

import msgspec

from handlers.openai.sampling import refused
from jan.errors import InvalidRequest
from jan.schema.chat import ChatCompletionRequest
from jan.schema.tools import (
    AllowedToolsChoice,
    ChosenFunction,
    CustomDefinition,
    CustomTool,
    FunctionDefinition,
    NamedCustomChoice,
    NamedToolChoice,
    RegexOfTool,
    RequestedTool,
    Tool,
)

# An escape of JSON. The group has one of half a character, whose other half does not follow (RFC 8259 7).
_ESCAPE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\."
)


class ToolForms(msgspec.Struct, frozen=True, kw_only=True):
    """The tools of a request.

    ``shown``: those in the prompt. ``callable``: those that the answer may call. ``must_call``: it must call one.
    ``parallel``: it may call several. ``custom``: names of those whose argument is a text. ``legacy``: the request
    has OpenAI's older ``functions``, and the answer has a ``function_call``.
    """

    shown: tuple[Tool, ...] = ()
    callable: tuple[Tool, ...] = ()
    must_call: bool = False
    parallel: bool = True
    custom: frozenset[str] = frozenset()
    legacy: bool = False

    @property
    def paths(self) -> tuple[str, ...]:
        """The places in the request of what each callable tool takes."""
        chosen = {id(tool) for tool in self.callable}
        shown = ((number, tool) for number, tool in enumerate(self.shown) if id(tool) in chosen)
        return tuple(self._path(number, tool) for number, tool in shown)

    def _path(self, number: int, tool: Tool) -> str:
        if self.legacy:
            return f"functions[{number}].parameters"
        is_custom = tool.function.name in self.custom
        return f"tools[{number}].{'custom.format' if is_custom else 'function.parameters'}"


_NONE = ToolForms()


def tool_forms_of(body: ChatCompletionRequest) -> ToolForms:
    """Return the tools of a request. Raises InvalidRequest for a choice of a tool that is not there."""
    if body.functions is not None or body.function_call is not None:
        return _legacy(body)
    choice = body.tool_choice
    if not body.tools:
        if choice in (None, "auto", "none"):
            return _NONE
        raise InvalidRequest("tool_choice: Not allowed without tools.", param="tool_choice")
    tools = tuple(map(_function_of, body.tools))
    _check_names(tools, "tools[{}].function.name")
    custom = frozenset(tool.custom.name for tool in body.tools if isinstance(tool, CustomTool))
    forms = ToolForms(shown=tools, callable=tools, custom=custom, parallel=body.parallel_tool_calls is not False)
    if choice == "none":
        return _NONE
    if choice in ("required", "any"):
        return msgspec.structs.replace(forms, must_call=True)
    if isinstance(choice, AllowedToolsChoice):
        return _allowed(forms, choice)
    if isinstance(choice, NamedToolChoice | NamedCustomChoice):
        name = choice.function.name if isinstance(choice, NamedToolChoice) else choice.custom.name
        return msgspec.structs.replace(
            forms, callable=_named(tools, [name], "tool_choice"), must_call=True, parallel=False
        )
    return forms


def _allowed(forms: ToolForms, choice: AllowedToolsChoice) -> ToolForms:
    """Restrict the calls to some tools. The prompt shows all of them, as OpenAI's does."""
    allowed = choice.allowed_tools
    names = [one.custom.name if isinstance(one, NamedCustomChoice) else one.function.name for one in allowed.tools]
    chosen = _named(forms.callable, names, "tool_choice.allowed_tools.tools")
    return msgspec.structs.replace(forms, callable=chosen, must_call=allowed.mode == "required")


def _named(tools: tuple[Tool, ...], names: list[str], param: str) -> tuple[Tool, ...]:
    known = [tool.function.name for tool in tools]
    for name in names:
        if name not in known:
            raise InvalidRequest(
                f"{param}: There is no tool '{name[:64]}'; allowed: {', '.join(known)}.",
                param=param.partition(".")[0],
            )
    return tuple(tool for tool in tools if tool.function.name in names)


def _legacy(body: ChatCompletionRequest) -> ToolForms:
    """Return the functions of OpenAI's older form. An answer calls one of them at most."""
    if body.tools or body.tool_choice is not None:
        raise refused("functions", "Not allowed together with tools and tool_choice.")
    choice, functions = body.function_call, body.functions or []
    if choice == "none" or (not functions and choice in (None, "auto")):
        return _NONE
    if not functions:
        raise refused("function_call", "Not allowed without functions.")
    tools = tuple(Tool(type="function", function=function) for function in functions)
    _check_names(tools, "functions[{}].name")
    forms = ToolForms(shown=tools, callable=tools, parallel=False, legacy=True)
    if isinstance(choice, ChosenFunction):
        return msgspec.structs.replace(
            forms, callable=_named(tools, [choice.name], "function_call"), must_call=True
        )
    return forms


def _check_names(tools: tuple[Tool, ...], place: str) -> None:
    """Refuse a name that two tools have, because a call of it could mean either. Raises InvalidRequest.

    ``place``: where the request has a tool's name, with {} for the tool's number.
    """
    seen = set[str]()
    for index, tool in enumerate(tools):
        if (name := tool.function.name) in seen:
            raise refused(
                place.format(index), f"An earlier tool is named '{name}' too; allowed: a name of its own."
            )
        seen.add(name)


def _function_of(asked: RequestedTool) -> Tool:
    """Return a tool as the model gets it."""
    if not isinstance(asked, CustomTool):
        tool = Tool(type="function", function=asked.function)
        if asked.sent is not None:
            tool.keep_written(asked.sent)
        return tool
    custom = asked.custom
    function = FunctionDefinition(
        name=custom.name, description=custom.description, parameters=_parameters_of(custom), strict=True
    )
    tool = Tool(type="function", function=function)
    shown = {"name": custom.name, "description": custom.description, "parameters": function.parameters}
    kept = {name: value for name, value in shown.items() if value is not None}
    tool.keep_written({"type": "function", "function": kept})
    return tool


def _parameters_of(custom: CustomDefinition) -> dict[str, Any]:
    text: dict[str, Any] = {"type": "string"}
    if isinstance(custom.format, RegexOfTool):
        text["pattern"] = f"^(?:{custom.format.grammar.definition})$"
    return {
        "type": "object",
        "properties": {"input": text},
        "required": ["input"],
        "additionalProperties": False,
    }


def arguments_of(arguments: str) -> dict[str, Any]:
    """Return the arguments of a call as an object.

    It is empty if they were cut off, which the reason of the end tells, or if they are nested too deeply to be
    read. Escapes of half characters, which only some readers take, become U+FFFD.
    """
    try:
        return msgspec.json.decode(arguments, type=dict[str, Any])
    except msgspec.DecodeError:
        whole = _ESCAPE.sub(_with_whole, arguments)
    except RecursionError:
        return {}
    try:
        return msgspec.json.decode(whole, type=dict[str, Any])
    except msgspec.DecodeError:
        return {}


def _with_whole(escape: "re.Match[str]") -> str:
    """Return what stands for an escape: U+FFFD for half a character, and any other as it is."""
    return "\ufffd" if escape[1] else escape[0]


def input_of(arguments: str) -> str:
    """Return the text that a call of a custom tool passes; what the model wrote if it is cut off."""
    try:
        return msgspec.json.decode(arguments.encode(), type=dict[str, str]).get("input", "")
    except msgspec.DecodeError:
        return arguments

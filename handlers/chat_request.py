"""From a chat completion request to what the engine is asked for."""

import json

from handlers.generation import sampling_of, stop_of
from jan.engine.base import ChatPrompt, GenerationRequest, OutputFormat
from jan.errors import InvalidRequest
from jan.schema.chat import ChatCompletionRequest, JsonObjectFormat, JsonSchemaFormat, NamedToolChoice, Tool


def generation_of(body: ChatCompletionRequest, choice: int, owner: str) -> GenerationRequest:
    """The engine's request for one choice; raises InvalidRequest for what does not fit together."""
    if body.top_logprobs is not None and not body.logprobs:
        raise InvalidRequest("top_logprobs needs logprobs to be true", param="top_logprobs")
    output = _output(body)
    shown = () if body.tool_choice == "none" else tuple(body.tools or ())
    return GenerationRequest(
        prompt=ChatPrompt(messages=tuple(body.messages), tools=shown),
        sampling=sampling_of(body, choice),
        max_tokens=body.max_completion_tokens or body.max_tokens,
        stop=stop_of(body),
        logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        output=output,
        owner=owner,
    )


def _output(body: ChatCompletionRequest) -> OutputFormat:
    tools = _callable_tools(body)
    forced = body.tool_choice == "required" or isinstance(body.tool_choice, NamedToolChoice)
    schema = ""
    if isinstance(body.response_format, JsonObjectFormat):
        schema = '{"type": "object"}'
    elif isinstance(body.response_format, JsonSchemaFormat):
        schema = json.dumps(body.response_format.json_schema.schema)
    parallel = body.parallel_tool_calls is not False and not isinstance(body.tool_choice, NamedToolChoice)
    return OutputFormat(json_schema=schema, callable_tools=tools, must_call=forced, parallel_calls=parallel)


def _callable_tools(body: ChatCompletionRequest) -> tuple[Tool, ...]:
    """The tools that the answer may call, by tool_choice."""
    tools = tuple(body.tools or ())
    if body.tool_choice == "none" or (not tools and body.tool_choice in (None, "auto")):
        return ()
    if not tools:
        raise InvalidRequest("tool_choice needs tools to choose from", param="tool_choice")
    if isinstance(body.tool_choice, NamedToolChoice):
        wanted = body.tool_choice.function.name
        chosen = tuple(tool for tool in tools if tool.function.name == wanted)
        if not chosen:
            names = ", ".join(tool.function.name for tool in tools)
            raise InvalidRequest(f"there is no tool '{wanted}'; there is: {names}", param="tool_choice")
        return chosen
    return tools

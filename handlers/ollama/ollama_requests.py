"""Turns requests of Ollama's form into chat completion requests, so that the same rules hold for both."""

import re
from collections import deque
from types import MappingProxyType
from typing import Any

from handlers.openai.client_names import ClientNames
from handlers.openai.converted_parts import converted
from handlers.openai.sampling import refused
from jan.schema.chat import ChatCompletionRequest
from jan.schema.messages import (
    AssistantMessage,
    ImagePart,
    Message,
    SentFunction,
    SentToolCall,
    SystemMessage,
    TextPart,
    ToolMessage,
    UserMessage,
)
from jan.schema.ollama import OllamaChatRequest, OllamaGenerateRequest, OllamaMessage, OllamaOptions
from jan.schema.output_formats import JsonObjectFormat, JsonSchema, JsonSchemaFormat, ResponseFormat
from jan.schema.tools import FunctionTool, RequestedTool

OllamaRequest = OllamaChatRequest | OllamaGenerateRequest

# Options by what chat completions call them, where that differs.
_OPTIONS = MappingProxyType({"num_predict": "max_tokens"})
# Names that errors have, by what they are called here.
_NAMES = MappingProxyType(
    {
        "response_format.json_schema.schema": "format",
        "response_format": "format",
        "enable_thinking": "think",
        "reasoning_effort": "think",
        "max_tokens": "options.num_predict",
        "parts of type 'image_url'": "images",
    }
)
_PARAMS = MappingProxyType({name: f"options.{name}" for name in OllamaOptions.__struct_fields__})
_IMAGE = re.compile(r"\bmessages\[(\d+)\]\.content\[(\d+)\]")
# Fields of messages that their role does not have.
_UNUSED = MappingProxyType(
    {
        "system": ("thinking", "tool_calls", "tool_name", "tool_call_id"),
        "user": ("thinking", "tool_calls", "tool_name", "tool_call_id"),
        "assistant": ("tool_name", "tool_call_id"),
        "tool": ("thinking", "tool_calls"),
    }
)
_LATEST = ":latest"


def model_named(name: str, known: list[str]) -> str:
    """Return the name of a model without Ollama's tag for the newest version, unless it is a name as it is."""
    return name if name in known else name.removesuffix(_LATEST)


def chat_of(body: OllamaChatRequest, model: str) -> ChatCompletionRequest:
    """Return a chat as a chat completion request. Raises InvalidRequest."""
    tools = [_tool(tool, f"tools[{number}]") for number, tool in enumerate(body.tools or ())]
    return _with_options(
        body, ChatCompletionRequest(model=model, messages=_messages(body.messages), tools=tools or None)
    )


def generation_of(body: OllamaGenerateRequest, model: str) -> ChatCompletionRequest:
    """Return a completion as a chat completion request. Raises InvalidRequest."""
    for name in ("template", "context"):
        if getattr(body, name):
            reason = "It is not served. The model has its own chat template. /api/chat takes a conversation."
            raise refused(name, reason, code="unsupported_parameter")
    if body.images and (body.raw or body.suffix):
        raise refused("images", "Not allowed with raw or suffix, which take text only.")
    system: list[Message] = [SystemMessage(content=body.system)] if body.system else []
    question = OllamaMessage(role="user", content=body.prompt, images=body.images)
    return _with_options(body, ChatCompletionRequest(model=model, messages=[*system, _user(question)]))


class OllamaNames(ClientNames):
    """Names as Ollama's clients know them. ``images``: where images are, without the number of each."""

    def __init__(self, images: str) -> None:
        super().__init__(_NAMES, _PARAMS)
        self._images = images

    def named(self, text: str) -> str:
        """Return a text in which parts of the request have the names that the client knows."""
        return super().named(_IMAGE.sub(self._image, text))

    def _image(self, found: "re.Match[str]") -> str:
        # A message's text comes before its images.
        return self._images.format(found[1]) + f"[{int(found[2]) - 1}]"


def names_of(body: OllamaRequest) -> OllamaNames:
    """Return the names of a request's parts as the client knows them."""
    return OllamaNames("images" if isinstance(body, OllamaGenerateRequest) else "messages[{}].images")


def _with_options(body: OllamaRequest, chat: ChatCompletionRequest) -> ChatCompletionRequest:
    chat.stream, chat.response_format = body.stream, _format_of(body)
    if isinstance(body.think, bool):
        chat.enable_thinking = body.think
    elif body.think is not None:
        chat.reasoning_effort = body.think
    if body.logprobs:
        chat.logprobs, chat.top_logprobs = True, body.top_logprobs or 0
    if body.options is not None:
        for name in body.options.__struct_fields__:
            if (value := getattr(body.options, name)) is not None:
                setattr(chat, _OPTIONS.get(name, name), value)
        if chat.max_tokens is not None and chat.max_tokens <= 0:
            chat.max_tokens = None  # as many as fit, as in Ollama
    return chat


def _format_of(body: OllamaRequest) -> ResponseFormat | None:
    if isinstance(body.format, dict):
        return JsonSchemaFormat(json_schema=JsonSchema(schema=body.format))
    return JsonObjectFormat() if body.format else None


def _tool(given: dict[str, Any], place: str) -> RequestedTool:
    tool: FunctionTool = converted({"type": "function", **given}, FunctionTool, place)
    tool.keep_written({"type": "function", **given})
    return tool


class _OpenCalls:
    """Calls of a chat that have no result yet. A result belongs to the oldest one of its name, if it has one."""

    def __init__(self) -> None:
        self._made = 0
        self._waiting: deque[tuple[str, str]] = deque()

    def call(self, name: str, given: str | None) -> str:
        """Return the id of a call: the given one, or the next of ours."""
        own = given or f"call_{self._made}"
        self._made += 1
        self._waiting.append((own, name))
        return own

    def answered(self, message: OllamaMessage) -> str:
        """Return the id of the call that a result belongs to."""
        if message.tool_call_id:
            return message.tool_call_id
        for call in self._waiting:
            if message.tool_name in (None, "", call[1]):
                self._waiting.remove(call)
                return call[0]
        return "call_0"


def _messages(given: list[OllamaMessage]) -> list[Message]:
    calls = _OpenCalls()
    for at, message in enumerate(given):
        if message.images and message.role != "user":
            raise refused(f"messages[{at}].images", "Only a message of the user may have images.")
    return [_message(message, calls) for message in given]


def _message(message: OllamaMessage, calls: _OpenCalls) -> Message:
    if message.role == "system":
        return SystemMessage(content=message.content)
    if message.role == "tool":
        own = calls.answered(message)
        return ToolMessage(content=message.content, tool_call_id=own, name=message.tool_name)
    if message.role == "user":
        return _user(message)
    made = [
        SentToolCall(
            id=calls.call(call.function.name, call.id),
            function=SentFunction(name=call.function.name, arguments=call.function.arguments),
        )
        for call in message.tool_calls or ()
    ]
    return AssistantMessage(
        content=message.content, tool_calls=made or None, reasoning_content=message.thinking or None
    )


def _user(message: OllamaMessage) -> UserMessage:
    if not message.images:
        return UserMessage(content=message.content)
    images = [ImagePart(image_url={"url": ""}) for _ in message.images]
    return UserMessage(content=[TextPart(text=message.content), *images])


def ignored_of(body: OllamaRequest) -> list[str]:
    """Return the names of what nothing here uses in a request that is answered."""
    ignored = [] if body.keep_alive is None else ["keep_alive"]
    if body.top_logprobs is not None and not body.logprobs:
        ignored.append("top_logprobs")
    if isinstance(body, OllamaGenerateRequest):
        if body.raw or body.suffix:  # the prompt is used as it is
            ignored += [name for name in ("system", "think") if getattr(body, name) is not None]
        return ignored
    for at, message in enumerate(body.messages):
        unused = _UNUSED[message.role]
        ignored += [f"messages[{at}].{name}" for name in unused if getattr(message, name) is not None]
    return ignored


def unused_to_load(body: OllamaRequest) -> list[str]:
    """Return the names of what a request has beside the model that it loads."""
    names = [name for name in body.__struct_fields__ if name not in ("model", "stream", "messages", "prompt")]
    return [name for name in names if getattr(body, name) not in (None, "", [])]

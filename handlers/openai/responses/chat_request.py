"""Turns a request for a response into a chat completion request, so that the same rules hold for both."""

from types import MappingProxyType
from typing import Any

from msgspec import UNSET

from handlers.openai.client_names import ClientNames
from handlers.openai.converted_parts import converted
from handlers.openai.responses.namespaces import CUSTOM_KEYS, FUNCTION_KEYS, ServedTools
from handlers.openai.responses.sent_items import messages_of, read_items
from handlers.openai.sampling import refused
from jan.auth.encrypted_texts import TextsOfOwner
from jan.errors import InvalidRequest
from jan.schema.chat import ChatCompletionRequest
from jan.schema.messages import Message, SystemMessage
from jan.schema.output_formats import JsonSchema, JsonSchemaFormat, ResponseFormat
from jan.schema.responses import ConversationOption, PromptOfResponse, ResponseRequest, SchemaFormat
from jan.schema.tools import (
    AllowedTools,
    AllowedToolsChoice,
    ChosenFunction,
    CustomTool,
    FunctionTool,
    NamedCustomChoice,
    NamedToolChoice,
    RequestedTool,
    ToolChoice,
)

# Parts of a path, or whole names, by what they are called here.
_NAMES = MappingProxyType(
    {
        ".function.": ".",
        ".custom.": ".",
        "response_format.json_schema.schema": "text.format.schema",
        "response_format": "text.format",
        ".reasoning_content": ".content",
        "reasoning_effort": "reasoning.effort",
        "max_tokens": "max_output_tokens",
        "type 'image_url'": "type 'input_image'",
        "type 'file'": "type 'input_file'",
    }
)
# The place of messages that the client did not send.
_STORED = "previous_response_id"
_PARAMS = MappingProxyType({"messages": "input", "logprobs": "top_logprobs"})
#: What `include` calls log probabilities, and encrypted reasoning.
LOGPROBS = "message.output_text.logprobs"
ENCRYPTED = "reasoning.encrypted_content"
_INCLUDED = (LOGPROBS, ENCRYPTED)
_CHOICE_KEYS = ("type", "name", "mode", "tools")


def conversation_of(body: PromptOfResponse) -> str | None:
    """Return the id of the conversation that a request names."""
    return body.conversation.id if isinstance(body.conversation, ConversationOption) else body.conversation


class ChatRequestOfResponse:
    """A request in the form of chat completions, and the names that its parts have for the client.

    ``texts``: the caller's encrypted texts. Raises InvalidRequest.

    Attributes:
        chat: the request.
        tools: its tools, as the client wrote them, without those that nothing here runs.
        namespaced: that of its ``ServedTools``.
        instructed: the number of its messages that are instructions for this answer only.
        ignored: names of what nothing here uses.
        names: the names that the client knows.
    """

    def __init__(self, body: PromptOfResponse, texts: TextsOfOwner) -> None:
        _check_place(body)
        read = read_items(body.input, texts)
        messages, places = messages_of(read)
        if body.instructions:
            messages, places = [SystemMessage(content=body.instructions), *messages], ["instructions", *places]
        self._own_places = places
        self.instructed = 1 if body.instructions else 0
        self._answers_again = isinstance(body.parent_message_id, str)
        self.ignored = [*read.ignored, *_ignored_of(body)]
        served = ServedTools(body.tools)
        self.ignored += served.ignored
        self.names = ClientNames(_NAMES, _PARAMS)
        self.names.places = {"messages": places, "tools": served.places}
        self.tools, self.namespaced = served.written, served.namespaced
        self.chat = ChatCompletionRequest(
            model=body.model,
            messages=messages,
            tools=[_tool(tool, place) for tool, place in zip(served.tools, served.places, strict=True)] or None,
            tool_choice=_choice_of(served.joined(body.tool_choice), has_tools=bool(served.tools)),
            parallel_tool_calls=body.parallel_tool_calls,
            response_format=_format_of(body),
            reasoning_effort=None if body.reasoning is None else body.reasoning.effort,
        )
        if isinstance(body, ResponseRequest):
            self._add_sampling(body)

    def split_messages(self) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
        """Return the instructions, which are for this answer only, and the messages of the input."""
        messages = tuple(self.chat.messages)
        return messages[: self.instructed], messages[self.instructed :]

    def name_places(self, before: int) -> None:
        """Note that this many stored messages stand between the instructions and the input."""
        own = self._own_places
        stored = [_STORED] * before
        self.names.stored = _STORED
        self.names.places["messages"] = [*own[: self.instructed], *stored, *own[self.instructed :]]

    def add_question(self, message: Message) -> None:
        """Add a message of the server's own behind those of the input."""
        self.chat.messages.append(message)
        self._own_places.append("input")

    def check(self) -> None:
        """Refuse a request without any message beside its instructions, unless it answers a stored one again.

        Raises InvalidRequest.
        """
        if len(self.chat.messages) == self.instructed and not self._answers_again:
            raise refused("input", "It is empty; allowed: a text, or a list with at least one item.")

    def _add_sampling(self, body: ResponseRequest) -> None:
        chat = self.chat
        chat.max_tokens, chat.temperature, chat.top_p = body.max_output_tokens, body.temperature, body.top_p
        chat.top_k, chat.min_p, chat.repeat_penalty = body.top_k, body.min_p, body.repeat_penalty
        chat.seed, chat.stream, chat.service_tier = body.seed, body.stream, body.service_tier
        if body.top_logprobs is not None or LOGPROBS in (body.include or ()):
            chat.logprobs, chat.top_logprobs = True, body.top_logprobs or 0


def _check_place(body: PromptOfResponse) -> None:
    """Refuse a place in a conversation where the request names none. Raises InvalidRequest."""
    if conversation_of(body) is not None:
        return
    for name, default in (("parent_message_id", UNSET), ("message_id", None)):
        if getattr(body, name, default) is not default:
            raise refused(name, "Not allowed without conversation.")


def _ignored_of(body: PromptOfResponse) -> list[str]:
    ignored = []
    if body.reasoning is not None and (body.reasoning.summary or body.reasoning.generate_summary):
        ignored.append("reasoning.summary")
    if body.text is not None and body.text.verbosity not in (None, "medium"):
        ignored.append("text.verbosity")
    if isinstance(body.tool_choice, dict):
        ignored += [f"tool_choice.{name}" for name in body.tool_choice if name not in _CHOICE_KEYS]
    return ignored + (_ignored_settings(body) if isinstance(body, ResponseRequest) else [])


def _ignored_settings(body: ResponseRequest) -> list[str]:
    ignored = [f"include[{at}]" for at, name in enumerate(body.include or ()) if name not in _INCLUDED]
    if body.max_tool_calls is not None:
        ignored.append("max_tool_calls")  # counts calls of tools that the server runs: there are none
    if body.stream_options is not None and body.stream_options.include_obfuscation:
        ignored.append("stream_options.include_obfuscation")
    return ignored


def _format_of(body: PromptOfResponse) -> ResponseFormat | None:
    output = None if body.text is None else body.text.format
    if not isinstance(output, SchemaFormat):
        return output
    return JsonSchemaFormat(json_schema=JsonSchema(schema=output.schema, strict=output.strict))


def _tool(given: dict[str, Any], place: str) -> RequestedTool:
    """Return a tool in the form of chat completions, where its definition is one level deeper."""
    kind: str = given["type"]
    expected: Any = CustomTool if kind == "custom" else FunctionTool
    keys = CUSTOM_KEYS if kind == "custom" else FUNCTION_KEYS
    inner = {name: given[name] for name in keys if given.get(name) is not None}
    if isinstance(form := inner.get("format"), dict) and form.get("type") == "grammar" and "grammar" not in form:
        grammar = {name: value for name, value in form.items() if name != "type"}
        inner["format"] = {"type": "grammar", "grammar": grammar}
    written = {"type": kind, kind: inner}
    tool: RequestedTool = converted(written, expected, place, within=kind)
    tool.keep_written(written)
    return tool


def _choice_of(choice: Any, *, has_tools: bool) -> ToolChoice | None:
    if choice is None or (choice in ("auto", "none") and not has_tools):
        return None
    if isinstance(choice, str):
        return choice  # type: ignore[return-value]  # the type of the field allows no other texts
    kind = choice.get("type")
    if kind == "allowed_tools":
        tools, mode = choice.get("tools"), choice.get("mode", "auto")
        if not isinstance(tools, list) or not tools or mode not in ("auto", "required"):
            raise _wrong_choice()
        allowed = [_named_choice(tool) for tool in tools]
        return AllowedToolsChoice(allowed_tools=AllowedTools(mode=mode, tools=allowed))
    return _named_choice(choice)


def _named_choice(choice: Any) -> NamedToolChoice | NamedCustomChoice:
    if not isinstance(choice, dict):
        raise _wrong_choice()
    kind, name = choice.get("type"), choice.get("name")
    if kind not in ("function", "custom") or not isinstance(name, str):
        raise _wrong_choice()
    if kind == "custom":
        return NamedCustomChoice(custom=ChosenFunction(name=name))
    return NamedToolChoice(function=ChosenFunction(name=name))


def _wrong_choice() -> InvalidRequest:
    return refused(
        "tool_choice",
        "Not a choice that is served; allowed: none, auto, required, a function or custom tool by its name, or "
        "allowed_tools with such.",
    )

"""Bodies of requests, up to what a model is asked for. Wrong ones are refused, right ones stay what they are."""

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import msgspec

from fuzz.given import Given
from fuzz.json_mutations import mutated
from fuzz.refusals import check_refusal
from handlers.anthropic.translated_request import TranslatedRequest
from handlers.conversations.messages import _EXPORTED
from handlers.conversations.translate import conversation_from_wire, message_from_wire
from handlers.ollama.ollama_requests import chat_of, generation_of
from handlers.openai.chat.request import model_request
from handlers.openai.completions import _model_request as completion_request
from handlers.openai.responses.chat_request import ChatRequestOfResponse
from jan.auth.encrypted_texts import EncryptedTexts
from jan.errors import InvalidRequest, JanError
from jan.http.json_body import JsonLimits, decode_json
from jan.schema.anthropic import MessagesRequest, PromptOfMessages
from jan.schema.chat import ChatCompletionRequest
from jan.schema.completions import CompletionRequest
from jan.schema.conversations import (
    Conversation,
    ConversationCreate,
    ConversationUpdate,
    ExportLine,
    MessageCreate,
)
from jan.schema.folder_lists import FolderMove
from jan.schema.ollama import OllamaChatRequest, OllamaGenerateRequest
from jan.schema.open_body import header_value
from jan.schema.responses import ResponseRequest
from jan.schema.scopes import Identity
from jan.schema.users import ApiKeyChanges, KeyRotation, NewApiKey, NewUser, ProfileChanges, UserUpdate
from jan.settings.server import ServerSettings

_LIMITS = JsonLimits(ServerSettings().max_json_depth, ServerSettings().max_json_members)
_CALLER = Identity(owner="user_1", user_id="user_1")
_HELLO = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}]'
_TOOL = (
    b'{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object", '
    b'"properties": {"a": {"type": "integer", "enum": [1, 2]}}, "required": ["a"]}}}'
)


def _chat(body: ChatCompletionRequest) -> None:
    model_request(body, _CALLER)


def _messages(body: PromptOfMessages) -> None:
    translated = TranslatedRequest(body)
    _translated(translated, translated.chat)


def _response(body: ResponseRequest) -> None:
    translated = ChatRequestOfResponse(body, EncryptedTexts(lambda _: [bytes(32)]).of("me"))
    _translated(translated, translated.chat)


def _translated(translated: Any, chat: ChatCompletionRequest) -> None:
    header_value(translated.ignored).encode("ascii")
    try:
        model_request(chat, _CALLER)
    except InvalidRequest as error:
        translated.name_in(error)
        raise


def _ollama_chat(body: OllamaChatRequest) -> None:
    model_request(chat_of(body, "m"), _CALLER)


def _ollama_generation(body: OllamaGenerateRequest) -> None:
    model_request(generation_of(body, "m"), _CALLER)


def _import(body: list[Any]) -> None:
    for line in body:
        if isinstance(line, Conversation):
            conversation_from_wire(line, "user_1")
        else:
            message_from_wire(line)


def _completion(body: CompletionRequest) -> None:
    completion_request(body, _CALLER)


def _nothing(body: Any) -> None:
    """Do nothing more with a body."""


_KINDS: tuple[tuple[Any, Callable[[Any], None], bytes], ...] = (
    (ChatCompletionRequest, _chat, _HELLO + b', "tools": [' + _TOOL + b'], "tool_choice": "auto", "n": 2}'),
    (
        ChatCompletionRequest,
        _chat,
        _HELLO + b', "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}}',
    ),
    (
        ChatCompletionRequest,
        _chat,
        b'{"model": "m", "messages": [{"role": "assistant", "content": null, "tool_calls": [{"id": "c", "type": '
        b'"function", "function": {"name": "f", "arguments": "{}"}}]}, {"role": "tool", "tool_call_id": "c", '
        b'"content": [{"type": "text", "text": "x"}]}], "stop": ["a"], "logit_bias": {"1": 2}, "seed": 1}',
    ),
    (
        ResponseRequest,
        _response,
        b'{"model": "m", "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": '
        b'"x"}]}, {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}, {"type": '
        b'"function_call_output", "call_id": "c", "output": "1"}], "tools": [{"type": "function", "name": "f", '
        b'"parameters": {}}, {"type": "custom", "name": "g", "format": {"type": "grammar", "syntax": "regex", '
        b'"definition": "a"}}], "reasoning": {"effort": "low"}, "text": {"format": {"type": "text"}}}',
    ),
    (
        MessagesRequest,
        _messages,
        b'{"model": "m", "max_tokens": 5, "system": [{"type": "text", "text": "s", "cache_control": {"type": '
        b'"ephemeral"}}], "messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": '
        b'"f", "input": {}}]}, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]}], '
        b'"tools": [{"name": "f", "input_schema": {"type": "object"}}], "tool_choice": {"type": "any"}, '
        b'"thinking": {"type": "enabled", "budget_tokens": 1024}}',
    ),
    (
        OllamaChatRequest,
        _ollama_chat,
        b'{"model": "m", "messages": [{"role": "user", "content": "hi", "images": ["aGk="]}], "tools": ['
        + _TOOL
        + b'], "format": {"type": "object"}, "options": {"num_predict": 5, "temperature": 0.5}, "think": "low"}',
    ),
    (
        OllamaGenerateRequest,
        _ollama_generation,
        b'{"model": "m", "prompt": "hi", "suffix": "x", "format": "json", "system": "s", "raw": true}',
    ),
    (
        CompletionRequest,
        _completion,
        b'{"model": "m", "prompt": [[1, 2], [3]], "echo": true, "logprobs": 2, "best_of": 2, "guided_regex": "a"}',
    ),
    (
        list[ExportLine],
        _import,
        _EXPORTED.encode(),
    ),
    (MessageCreate, _nothing, b'{"role": "user", "content": "x", "parent_id": null}'),
    (ConversationCreate, _nothing, b'{"title": "t", "model": "m", "metadata": {"a": "b"}}'),
    (ConversationUpdate, _nothing, b'{"title": "t"}'),
    (FolderMove, _nothing, b'{"folder": "a", "to": null}'),
    (NewUser, _nothing, b'{"email": "a@example.org", "name": "A", "role": "user"}'),
    (UserUpdate, _nothing, b'{"disabled": true, "tokens_per_day": 5}'),
    (NewApiKey, _nothing, b'{"name": "n", "permissions": ["read"], "expires_at": "2030-01-01T00:00:00Z"}'),
    (ApiKeyChanges, _nothing, b'{"name": "n"}'),
    (KeyRotation | None, _nothing, b'{"grace_seconds": 0}'),
    (ProfileChanges, _nothing, b'{"name": "n"}'),
)


def words() -> Iterable[bytes]:
    """Yield the names and the values that bodies are made of."""
    for kind, _, _ in _KINDS:
        for member in msgspec.json.schema_components([kind])[1].values():
            for name, value in member.get("properties", {}).items():
                yield b'"%b": ' % name.encode()
                yield from (msgspec.json.encode(one) for one in value.get("enum", ()))
    yield from (
        b"null",
        b"true",
        b"[]",
        b"{}",
        b"1e400",
        b"-1",
        b'"\\ud800"',
        b"18446744073709551616",
        b'"\\u0000"',
    )


def seeds() -> Iterable[bytes]:
    """Yield a right body of each kind."""
    for number, (_, _, body) in enumerate(_KINDS):
        yield bytes([number]) + body


@cache
def _names() -> tuple[str, ...]:
    return tuple(dict.fromkeys(word.decode().strip(': "') for word in words()))


def mutate(data: bytes, seed: int) -> bytes | None:
    """Change a body so that it stays JSON; None if it is none."""
    changed = mutated(data[1:], _names(), seed)
    return None if changed is None else data[:1] + changed


def check(data: bytes) -> None:
    """Decode one body, and use it as its endpoint does."""
    given = Given(data)
    kind, use, _ = given.one_of(_KINDS)
    lines = kind == list[ExportLine]
    try:
        decoded = decode_json(given.rest(), ExportLine if lines else kind, _LIMITS, lines=lines)
        header_value(decoded.ignored).encode("ascii")
        _check_same(decoded.value, kind)
        use(decoded.value)
    except JanError as error:
        check_refusal(error)


def _check_same(value: Any, kind: Any) -> None:
    """Check that a value is the same once it was written and read again."""
    written = msgspec.json.encode(value)
    assert msgspec.json.encode(msgspec.json.decode(written, type=kind)) == written

"""The `openai` Python SDK of today against the bundled model: tools, JSON, log probabilities. Only the form of
what the model says is asserted: it is a tiny model."""

import asyncio
import json
import math
from collections.abc import Iterator
from typing import Any, Literal

import jsonschema
import openai
import pydantic_core
import pytest
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel, Field
from support.sdk import ask, connect, connect_async, reasons, said
from support.server import MODEL, ServerProcess

pytestmark = [pytest.mark.sdk, pytest.mark.model]

QUESTION = "What is the weather in Paris?"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 8},
        "days": {"type": "integer", "minimum": 1, "maximum": 7},
    },
    "required": ["city", "days"],
    "additionalProperties": False,
}


class Forecast(BaseModel):
    """The weather of the days to come."""

    city: str = Field(max_length=8)
    unit: Literal["celsius", "kelvin"]


class Time(BaseModel):
    """The time at a place, which can only be asked for in one way."""

    city: Literal["Paris"]
    hours: Literal[24]


class Pet(BaseModel):
    """With all that the SDK's own schemas are made of: references, null, lists, enumerations."""

    class Owner(BaseModel):
        name: str = Field(max_length=6)

    kind: Literal["cat", "dog"]
    age: int | None = Field(ge=0, le=30)
    owners: list[Owner] = Field(max_length=1)


@pytest.fixture(scope="module")
def client(model_server: ServerProcess) -> Iterator[openai.OpenAI]:
    with connect(model_server) as client:
        yield client


def function(name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """A tool as a request has it."""
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


# --- text -------------------------------------------------------------------------------------------


def test_chat_and_its_stream(client: openai.OpenAI) -> None:
    """A real model's answer comes whole and in pieces, as long as asked for at most, with its usage."""
    request = ask("Tell me a story", max_tokens=8, temperature=0)
    completion = client.chat.completions.create(**request)
    assert completion.choices[0].message.content
    assert completion.usage is not None
    assert 0 < completion.usage.completion_tokens <= 8
    with client.chat.completions.create(**request, stream=True, stream_options={"include_usage": True}) as stream:
        *chunks, last = stream
    assert said(chunks)
    assert len(reasons(chunks)) == 1
    assert last.usage is not None
    assert last.usage.prompt_tokens == completion.usage.prompt_tokens


def test_several_choices(client: openai.OpenAI) -> None:
    """n=2 gives two choices; all their tokens are counted, and the prompt's once."""
    one = client.chat.completions.create(**ask(max_tokens=1)).usage
    completion = client.chat.completions.create(**ask(n=2, max_tokens=3))
    assert [choice.index for choice in completion.choices] == [0, 1]
    assert one is not None
    assert completion.usage is not None
    assert completion.usage.prompt_tokens == one.prompt_tokens
    assert 2 <= completion.usage.completion_tokens <= 6


def test_log_probabilities(client: openai.OpenAI) -> None:
    """Every token of the answer, streamed or not, has its log probability and the likeliest others."""
    request = ask("Hello", logprobs=True, top_logprobs=2, max_tokens=4, temperature=0)
    (choice,) = client.chat.completions.create(**request).choices
    with client.chat.completions.create(**request, stream=True) as stream:
        streamed = [c.logprobs.content for chunk in stream for c in chunk.choices if c.logprobs]
    assert choice.logprobs is not None
    for tokens in (choice.logprobs.content or [], [token for content in streamed for token in content or []]):
        assert tokens
        assert all(token.logprob <= 0 and len(token.top_logprobs) == 2 for token in tokens)
        assert all(token.bytes == list(token.token.encode()) for token in tokens)
    assert "".join(token.token for token in choice.logprobs.content or []) == choice.message.content


def test_text_completions(client: openai.OpenAI) -> None:
    """The text endpoint goes on with texts and with tokens, and has log probabilities in its own form."""
    completion = client.completions.create(
        model=MODEL, prompt="The meaning of life is", max_tokens=4, logprobs=1, temperature=0
    )
    (choice,) = completion.choices
    assert choice.logprobs is not None
    assert "".join(choice.logprobs.tokens or []) == choice.text
    assert all(value <= 0 and math.isfinite(value) for value in choice.logprobs.token_logprobs or [])
    tokens = client.completions.create(model=MODEL, prompt=[504, 5312, 282], max_tokens=2)
    assert tokens.usage is not None
    assert tokens.usage.prompt_tokens == 3


# --- tools ------------------------------------------------------------------------------------------


def test_a_required_tool_is_called(client: openai.OpenAI) -> None:
    """tool_choice required: the answer is a call with arguments that the tool's schema accepts; the tool's
    result sent back as the SDK's guides do gives an answer in text."""
    tools = [function("forecast", SCHEMA)]
    request = ask(QUESTION, tools=tools, max_tokens=80, temperature=0)
    (choice,) = client.chat.completions.create(
        **request, tool_choice="required", parallel_tool_calls=False
    ).choices
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    (call,) = choice.message.tool_calls or []
    assert (call.type, call.function.name) == ("function", "forecast")
    jsonschema.validate(json.loads(call.function.arguments), SCHEMA)

    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    messages = [*request["messages"], choice.message, result]
    request |= {"messages": messages, "max_tokens": 4, "tool_choice": "none"}
    (answer,) = client.chat.completions.create(**request).choices
    assert answer.message.content
    assert answer.message.tool_calls is None


def test_arguments_are_parsed(client: openai.OpenAI) -> None:
    """The SDK's parse helper finds the call and makes the tool's own class of its arguments."""
    tools = [openai.pydantic_function_tool(Time), openai.pydantic_function_tool(Forecast)]
    named = {"type": "function", "function": {"name": "Forecast"}}
    completion = client.chat.completions.parse(
        **ask(QUESTION, tools=tools, tool_choice=named, max_tokens=100, temperature=0)
    )
    (call,) = completion.choices[0].message.tool_calls or []
    assert isinstance(call.function.parsed_arguments, Forecast)


def call_pieces(chunks: list[ChatCompletionChunk]) -> list[Any]:
    """The tool call deltas of a stream in order; each chunk has one of a call at most."""
    found = [[piece.index for piece in c.delta.tool_calls or []] for chunk in chunks for c in chunk.choices]
    assert all(len(indexes) == len(set(indexes)) for indexes in found)
    return [piece for chunk in chunks for c in chunk.choices for piece in c.delta.tool_calls or []]


def test_streamed_calls_add_up(client: openai.OpenAI) -> None:
    """A streamed call has id, type and name in its first piece only, and its arguments add up to the same,
    by hand and by the stream helper, as the answer that is not streamed."""
    tools = [openai.pydantic_function_tool(Time)]
    request = ask(QUESTION, tools=tools, tool_choice="required", parallel_tool_calls=False, max_tokens=80)
    with client.chat.completions.stream(**request) as stream:
        chunks = [event.chunk for event in stream if event.type == "chunk"]
        final = stream.get_final_completion()
    first, *rest = call_pieces(chunks)
    assert (first.type, first.function.name) == ("function", "Time")
    assert first.id
    assert all((piece.index, piece.id, piece.function.name) == (0, None, None) for piece in rest)
    assert reasons(chunks) == [(0, "tool_calls")]
    assert len(rest) > 1

    (whole,) = client.chat.completions.create(**request).choices[0].message.tool_calls or []
    (collected,) = final.choices[0].message.tool_calls or []
    assert "".join(piece.function.arguments for piece in (first, *rest)) == whole.function.arguments
    assert collected.function.arguments == whole.function.arguments
    assert collected.function.parsed_arguments == Time(city="Paris", hours=24)


# --- JSON -------------------------------------------------------------------------------------------


def test_json_schema(client: openai.OpenAI) -> None:
    """response_format json_schema: the answer is JSON that the schema accepts."""
    shape = {"type": "json_schema", "json_schema": {"name": "trip", "schema": SCHEMA, "strict": True}}
    request = ask("Plan a trip", response_format=shape, max_tokens=100, temperature=0)
    (choice,) = client.chat.completions.create(**request).choices
    assert choice.finish_reason == "stop"
    jsonschema.validate(json.loads(choice.message.content or ""), SCHEMA)


def test_json_object(client: openai.OpenAI) -> None:
    """response_format json_object: the answer is a JSON object, or the beginning of one if it was cut."""
    request = ask("Plan a trip", response_format={"type": "json_object"}, max_tokens=12, temperature=0)
    (choice,) = client.chat.completions.create(**request).choices
    cut = choice.finish_reason == "length"
    assert isinstance(pydantic_core.from_json(choice.message.content or "", allow_partial=cut), dict)


def test_a_class_as_response_format(client: openai.OpenAI) -> None:
    """The SDK's parse helper gets an instance of the class that it gave as response_format."""
    completion = client.chat.completions.parse(
        **ask("Make up a pet", max_tokens=100, temperature=0), response_format=Pet
    )
    assert isinstance(completion.choices[0].message.parsed, Pet)


def test_a_cut_answer_is_not_parsed(client: openai.OpenAI) -> None:
    """An answer that max_tokens cut is a LengthFinishReasonError of the parse helper's, not bad JSON."""
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(**ask("Make up a pet", max_tokens=2), response_format=Pet)


def test_a_schema_that_can_not_be_enforced(client: openai.OpenAI) -> None:
    """A schema that is no schema is a BadRequestError that names response_format, never a free answer."""
    shape = {"type": "json_schema", "json_schema": {"name": "odd", "schema": {"type": "nonsense"}}}
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**ask(response_format=shape))
    assert (caught.value.param, caught.value.code) == ("response_format", "invalid_schema")


def test_async_parsing(model_server: ServerProcess) -> None:
    """The asynchronous client parses a streamed answer, and a tool call beside it, as the other one does."""
    tools = [openai.pydantic_function_tool(Time)]

    async def shaped(client: openai.AsyncOpenAI) -> Any:
        async with client.chat.completions.stream(
            **ask("What time is it?", max_tokens=60), response_format=Time
        ) as stream:
            return [event.parsed async for event in stream if event.type == "content.done"]

    async def main() -> None:
        async with connect_async(model_server) as client:
            request = ask(QUESTION, tools=tools, tool_choice="required", parallel_tool_calls=False, max_tokens=80)
            parsed, completion = await asyncio.gather(shaped(client), client.chat.completions.parse(**request))
            (call,) = completion.choices[0].message.tool_calls or []
            assert parsed == [call.function.parsed_arguments] == [Time(city="Paris", hours=24)]

    asyncio.run(main())

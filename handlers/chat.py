"""POST /chat/completions."""

import json
import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from itertools import groupby
from operator import attrgetter

import msgspec
from msgspec import UNSET

from handlers.chat_examples import EXAMPLES
from handlers.generation import UsageCounter, sampling_of, stop_of, wants_usage
from jan.auth.scopes import ANONYMOUS_OR_INFERENCE
from jan.engine.base import (
    ChatPrompt,
    Delta,
    Event,
    Finished,
    GenerationRequest,
    OutputFormat,
    Started,
    ToolCallFragment,
)
from jan.errors import InvalidRequest, NotFound, Unavailable
from jan.handler import EventStream, Handler
from jan.operation import operation
from jan.schema.chat import (
    AnswerMessage,
    ChatChoice,
    ChatChunkChoice,
    ChatCompletion,
    ChatCompletionChunk,
    ChatCompletionRequest,
    ChatDelta,
    ChoiceLogprobs,
    FunctionCall,
    FunctionCallDelta,
    JsonObjectFormat,
    JsonSchemaFormat,
    NamedToolChoice,
    Tool,
    ToolCall,
    ToolCallDelta,
)
from jan.schema.sampling import FinishReason, TokenLogprob


class ChatCompletions(Handler):
    """OpenAI's chat completions."""

    @operation(
        summary="Create a chat completion",
        access=ANONYMOUS_OR_INFERENCE,
        tag="inference",
        request=ChatCompletionRequest,
        response=ChatCompletion,
        events=ChatCompletionChunk,
        limit="inference",
        errors=(NotFound, Unavailable),
        examples=EXAMPLES,
    )
    async def post(self, body: ChatCompletionRequest) -> ChatCompletion | EventStream:
        """The model's answer to a conversation; with `stream: true` as server-sent events, one chunk a
        piece, the last one `data: [DONE]`."""
        requests = [_generation(body, choice, self.identity.owner) for choice in range(body.n or 1)]
        chunks = self._chunks(body, requests, with_usage=wants_usage(body) or not body.stream)
        return EventStream(chunks) if body.stream else await _fold(chunks)

    async def _chunks(
        self, body: ChatCompletionRequest, requests: list[GenerationRequest], with_usage: bool
    ) -> AsyncGenerator[ChatCompletionChunk, None]:
        """The answer piece by piece; the whole answer is folded from the same pieces."""
        chunk = ChatCompletionChunk(
            id=f"chatcmpl-{secrets.token_hex(12)}", created=int(time.time()), model=body.model, choices=[]
        )
        if with_usage:
            chunk.usage = None
        counter = UsageCounter(len(requests))
        async with aclosing(self.generate(body.model, requests)) as events:
            async for index, event in events:
                if isinstance(event, Finished):
                    counter.add(index, event)
                for choice in _choices(index, event):
                    yield msgspec.structs.replace(chunk, choices=[choice])
        if with_usage:
            yield msgspec.structs.replace(chunk, usage=counter.usage)


def _choices(index: int, event: Event) -> list[ChatChunkChoice]:
    """An engine event in the wire's form."""
    if isinstance(event, Started):
        return [ChatChunkChoice(index=index, delta=ChatDelta(role="assistant", content=""))]
    if isinstance(event, Finished):
        return [ChatChunkChoice(index=index, delta=ChatDelta(), finish_reason=event.reason)]
    return [_piece(index, event)] if event else []


def _piece(index: int, event: Delta) -> ChatChunkChoice:
    delta = ChatDelta(content=event.text or UNSET)
    if event.tool_calls:
        calls = groupby(event.tool_calls, key=attrgetter("index"))
        delta.tool_calls = [_call_piece(number, list(fragments)) for number, fragments in calls]
    logprobs = ChoiceLogprobs(content=list(event.logprobs)) if event.logprobs else None
    return ChatChunkChoice(index=index, delta=delta, logprobs=logprobs)


def _call_piece(index: int, fragments: list[ToolCallFragment]) -> ToolCallDelta:
    """What is new in one call, as one piece: clients lose the second piece of a call within a chunk."""
    name = "".join(fragment.name for fragment in fragments)
    arguments = "".join(fragment.arguments for fragment in fragments)
    if not name:
        return ToolCallDelta(index=index, function=FunctionCallDelta(arguments=arguments))
    return ToolCallDelta(
        index=index,
        id=f"call_{secrets.token_hex(12)}",
        type="function",
        function=FunctionCallDelta(name=name, arguments=arguments),
    )


class _Answer:
    """One choice, collected from its pieces."""

    def __init__(self) -> None:
        self.content: list[str] = []
        self.calls: list[ToolCall] = []
        self.logprobs: list[TokenLogprob] = []
        self.reason: FinishReason = "stop"

    def add(self, choice: ChatChunkChoice) -> None:
        """One more piece."""
        self.reason = choice.finish_reason or self.reason
        if choice.logprobs is not None:
            self.logprobs += choice.logprobs.content
        if isinstance(choice.delta.content, str):
            self.content.append(choice.delta.content)
        for call in choice.delta.tool_calls or ():
            if isinstance(call.id, str):
                name = call.function.name or ""
                self.calls.append(ToolCall(id=call.id, function=FunctionCall(name=name, arguments="")))
            self.calls[call.index].function.arguments += call.function.arguments or ""

    def choice(self, index: int) -> ChatChoice:
        """The whole."""
        content = "".join(self.content)
        return ChatChoice(
            index=index,
            message=AnswerMessage(
                content=None if self.calls and not content else content, tool_calls=self.calls or UNSET
            ),
            logprobs=ChoiceLogprobs(content=self.logprobs) if self.logprobs else None,
            finish_reason=self.reason,
        )


async def _fold(chunks: AsyncGenerator[ChatCompletionChunk, None]) -> ChatCompletion:
    answers: dict[int, _Answer] = {}
    async with aclosing(chunks):
        async for chunk in chunks:
            for choice in chunk.choices:
                answers.setdefault(choice.index, _Answer()).add(choice)
    assert chunk.usage  # the last chunk carries it, as asked for
    return ChatCompletion(
        id=chunk.id,
        created=chunk.created,
        model=chunk.model,
        choices=[answers[index].choice(index) for index in sorted(answers)],
        usage=chunk.usage,
    )


def _generation(body: ChatCompletionRequest, choice: int, owner: str) -> GenerationRequest:
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

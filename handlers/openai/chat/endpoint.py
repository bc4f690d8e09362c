"""POST /chat/completions."""

import secrets
import time
from contextlib import aclosing

import msgspec
from msgspec import UNSET, UnsetType

from handlers.openai.chat.chunks import ChunkMaker, Chunks, choices_of
from handlers.openai.chat.conversation import begin_turn, check_alone, progress_of, to_retry, with_history
from handlers.openai.chat.examples import EXAMPLES
from handlers.openai.chat.request import generations_of
from handlers.openai.sampling import UsageCounter, told_tier, wants_usage
from jan.engine.base import Finished, GenerationRequest, Queued
from jan.errors import Conflict, NotFound, Unavailable
from jan.handler import EventStream, Handler, Turn
from jan.operation import operation
from jan.schema.chat import (
    AnswerMessage,
    ChatChoice,
    ChatChunkChoice,
    ChatCompletion,
    ChatCompletionChunk,
    ChatCompletionRequest,
    ChoiceLogprobs,
    ConversationPlace,
)
from jan.schema.messages import FunctionCall, ToolCall
from jan.schema.sampling import FinishReason, TokenLogprob
from jan.schema.scopes import ANONYMOUS_OR_INFERENCE


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
        errors=(NotFound, Conflict, Unavailable),
        examples=EXAMPLES,
    )
    async def post(self, body: ChatCompletionRequest) -> ChatCompletion | EventStream:
        """The model's answer to a conversation; with `stream: true` as server-sent events, one chunk a
        piece, the last one `data: [DONE]`.

        With `conversation_id` the server remembers: the model gets the conversation's stored messages, then
        those of the request, which are stored before the model begins; the answer is stored while it is made,
        and marked `partial` if it is cut short. This takes the permissions read and write. Nothing is left out
        of a conversation that has grown too long for the model: that is `context_length_exceeded`. A request
        that is refused has stored its messages, unless it was wrong in itself: send it again with the same
        `message_id`, or with no `messages` and, as `parent_message_id`, what the refusal's header
        `X-Jan-Parent-Message-Id` says.

        What a model thinks before it answers is its `reasoning_content`; a conversation keeps the answer without
        it. With `continue_final_message` the answer goes on with the last message, an assistant's.

        With `on_disconnect: finish` the answer is made to its end even if its client leaves, and the rest of it
        can be had from `.../{id}/events`.
        """
        completion_id = f"chatcmpl-{secrets.token_hex(12)}"
        requests = generations_of(body, self.identity)
        with_usage, counter = wants_usage(body) or not body.stream, UsageCounter(len(requests))
        if body.conversation_id is None:
            check_alone(body)
            chunks = self._chunks(completion_id, body, requests, counter, with_usage)
        else:
            turn = await begin_turn(self, body, body.conversation_id)
            requests = [with_history(requests[0], turn)]
            chunks = self._kept(turn, self._chunks(completion_id, body, requests, counter, with_usage), counter)
        if body.on_disconnect == "finish":
            finished: ChatCompletion | EventStream
            finished = await self.finish_anyway(completion_id, chunks, None if body.stream else _fold)
            return finished
        return EventStream(chunks) if body.stream else await _fold(chunks)

    async def _kept(self, turn: Turn, chunks: Chunks, counter: UsageCounter) -> Chunks:
        """The same chunks, while the answer is kept in its conversation."""
        collected = _Answer()
        async with aclosing(chunks):
            first = await to_retry(turn, anext(chunks))
            assert isinstance(first, ChatCompletionChunk)  # nothing is queued before it has started
            answer = turn.answer(first.model, lambda: progress_of(collected.choice(0)))
            try:
                await to_retry(turn, answer.begin())
                self.set_header("X-Jan-Message-Id", answer.message.id)
                yield msgspec.structs.replace(first, conversation=turn.place_of(answer))
                async for item in chunks:
                    for choice in choices_of(item):
                        collected.add(choice)
                        if choice.finish_reason is not None:
                            await answer.finish(progress_of(collected.choice(0), counter.usage))
                    yield item
            finally:
                answer.leave()

    async def _chunks(
        self,
        completion_id: str,
        body: ChatCompletionRequest,
        requests: list[GenerationRequest],
        counter: UsageCounter,
        with_usage: bool,
    ) -> Chunks:
        """The answer piece by piece; the whole answer is folded from the same pieces."""
        chunk = ChatCompletionChunk(
            id=completion_id,
            created=int(time.time()),
            model=body.model,
            choices=[],
            service_tier=told_tier(body, self.identity),
        )
        if with_usage:
            chunk.usage = None
        maker = ChunkMaker(chunk, len(requests))
        async with aclosing(self.generate(body.model, requests, choices=len(requests))) as events:
            async for index, event in events:
                if isinstance(event, Queued):
                    yield event
                    continue
                if isinstance(event, Finished):
                    counter.add(index, event)
                if (item := maker.make(index, event)) is not None:
                    yield item
        if with_usage:
            yield msgspec.structs.replace(chunk, usage=counter.usage)


class _Answer:
    """One choice, collected from its pieces."""

    def __init__(self) -> None:
        self.content: list[str] = []
        self.reasoning: list[str] = []
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
        if isinstance(choice.delta.reasoning_content, str):
            self.reasoning.append(choice.delta.reasoning_content)
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
                content=None if self.calls and not content else content,
                reasoning_content="".join(self.reasoning) or UNSET,
                tool_calls=self.calls or UNSET,
            ),
            logprobs=ChoiceLogprobs(content=self.logprobs) if self.logprobs else None,
            finish_reason=self.reason,
        )


async def _fold(chunks: Chunks) -> ChatCompletion:
    answers: dict[int, _Answer] = {}
    conversation: ConversationPlace | UnsetType = UNSET
    async with aclosing(chunks):
        async for item in chunks:
            if isinstance(item, ChatCompletionChunk):
                chunk, conversation = item, item.conversation or conversation
            for choice in choices_of(item):
                answers.setdefault(choice.index, _Answer()).add(choice)
    assert chunk.usage  # the last chunk carries it, as asked for
    return ChatCompletion(
        id=chunk.id,
        created=chunk.created,
        model=chunk.model,
        choices=[answers[index].choice(index) for index in sorted(answers)],
        usage=chunk.usage,
        service_tier=chunk.service_tier,
        conversation=conversation,
    )

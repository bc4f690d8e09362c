"""POST /completions."""

import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

import msgspec

from handlers.openai.sampling import UsageCounter, priority_of, sampling_of, stop_of, told_tier, wants_usage
from jan.engine.base import Delta, Finished, GenerationRequest, Queued, Started, TextPrompt, TokenPrompt
from jan.errors import InvalidRequest, NotFound, Unavailable
from jan.handler import EventStream, Handler, TextForm, TextRun, events_in
from jan.operation import Example, operation
from jan.schema.completions import Completion, CompletionChoice, CompletionLogprobs, CompletionRequest
from jan.schema.sampling import TokenLogprob
from jan.schema.scopes import ANONYMOUS_OR_INFERENCE, Identity

# OpenAI's default for this endpoint.
_DEFAULT_MAX_TOKENS = 16
_MAX_PROMPTS = 64

_Item = Completion | list[Completion] | TextRun[Completion] | Queued


class Completions(Handler):
    """OpenAI's text completions."""

    @operation(
        summary="Create a text completion",
        access=ANONYMOUS_OR_INFERENCE,
        tag="inference",
        request=CompletionRequest,
        response=Completion,
        events=Completion,
        limit="inference",
        errors=(NotFound, Unavailable),
        examples=(
            Example(
                summary="A text to go on with",
                body={"model": "jan-v1-4b", "prompt": "The meaning of life is", "max_tokens": 50},
            ),
        ),
    )
    async def post(self, body: CompletionRequest) -> Completion | EventStream:
        """The text that follows a prompt; with `stream: true` as server-sent events."""
        _check(body)
        requests = _generations(body, self.identity)
        pieces = self._pieces(body, requests, with_usage=wants_usage(body) or not body.stream)
        return EventStream(pieces) if body.stream else await _fold(pieces)

    async def _pieces(
        self, body: CompletionRequest, requests: list[GenerationRequest], with_usage: bool
    ) -> AsyncGenerator[_Item, None]:
        """The answer piece by piece; the whole answer is folded from the same pieces."""
        piece = Completion(
            id=f"cmpl-{secrets.token_hex(12)}",
            created=int(time.time()),
            model=body.model,
            choices=[],
            service_tier=told_tier(body, self.identity),
        )
        if with_usage:
            piece.usage = None
        counter = UsageCounter(body.n or 1)
        maker = _PieceMaker(piece, len(requests))
        async with aclosing(self.generate(body.model, requests, choices=body.n or 1)) as events:
            async for index, event in events:
                if isinstance(event, Queued):
                    yield event
                    continue
                if isinstance(event, Finished):
                    counter.add(index, event)
                if (item := maker.make(index, event)) is not None:
                    yield item
        if with_usage:
            yield msgspec.structs.replace(piece, usage=counter.usage)


class _PieceMaker:
    """Makes the pieces of an answer of so many ``choices``; ``piece`` is what they have in common."""

    def __init__(self, piece: Completion, choices: int) -> None:
        self._piece = piece
        self._forms = [TextForm(partial(_with_text, piece, index)) for index in range(choices)]
        # The characters of each choice so far.
        self._offsets = [0] * choices

    def make(self, index: int, event: Started | Delta | Finished) -> _Item | None:
        """An event of the choice of this index on the wire, if there is anything to tell: a piece, or as many as
        the engine made steps."""
        if isinstance(event, Finished):
            return self._with(CompletionChoice(index=index, text="", finish_reason=event.reason))
        if isinstance(event, Started):
            self._offsets[index] += len(event.prompt_text)
            return _with_text(self._piece, index, event.prompt_text)
        if not event:
            return None
        parts = event.parts or (event,)
        if event.text_only:
            self._offsets[index] += len(event.text)
            return TextRun(self._forms[index], [part.text for part in parts if part.text])
        return [self._with_logprobs(index, part) for part in parts if part]

    def _with_logprobs(self, index: int, part: Delta) -> Completion:
        logprobs = _logprobs(part.logprobs, self._offsets[index]) if part.logprobs else None
        self._offsets[index] += len(part.text)
        return self._with(CompletionChoice(index=index, text=part.text, logprobs=logprobs))

    def _with(self, choice: CompletionChoice) -> Completion:
        return msgspec.structs.replace(self._piece, choices=[choice])


def _with_text(piece: Completion, index: int, text: str) -> Completion:
    return msgspec.structs.replace(piece, choices=[CompletionChoice(index=index, text=text)])


def _logprobs(tokens: tuple[TokenLogprob, ...], offset: int) -> CompletionLogprobs:
    starts = []
    for token in tokens:
        starts.append(offset)
        offset += len(token.token)
    return CompletionLogprobs(
        tokens=[token.token for token in tokens],
        token_logprobs=[token.logprob for token in tokens],
        top_logprobs=[{top.token: top.logprob for top in token.top_logprobs} for token in tokens],
        text_offset=starts,
    )


async def _fold(pieces: AsyncGenerator[_Item, None]) -> Completion:
    choices: dict[int, CompletionChoice] = {}
    async with aclosing(pieces):
        async for item in pieces:
            if isinstance(item, Completion):
                piece = item
            for choice in (choice for said in events_in(item) for choice in said.choices):
                whole = choices.setdefault(choice.index, CompletionChoice(index=choice.index, text=""))
                _append(whole, choice)
    piece.choices = [choices[index] for index in sorted(choices)]
    return piece


def _append(whole: CompletionChoice, piece: CompletionChoice) -> None:
    whole.text += piece.text
    whole.finish_reason = piece.finish_reason or whole.finish_reason
    if piece.logprobs is None:
        return
    if whole.logprobs is None:
        whole.logprobs = piece.logprobs
        return
    for field in CompletionLogprobs.__struct_fields__:
        getattr(whole.logprobs, field).extend(getattr(piece.logprobs, field))


def _check(body: CompletionRequest) -> None:
    """Raises InvalidRequest for what this endpoint does not do."""
    if body.suffix:
        raise InvalidRequest("suffix (filling in the middle) is not supported; leave it out", param="suffix")
    if body.echo and body.logprobs is not None:
        raise InvalidRequest("echo with logprobs is not supported: ask for one of them", param="echo")
    if body.best_of is not None and body.best_of != (body.n or 1):
        raise InvalidRequest("best_of other than n is not supported; leave it out", param="best_of")


def _prompts(body: CompletionRequest) -> list[TextPrompt | TokenPrompt]:
    """One prompt: a text or a list of tokens; or a list of such."""
    if isinstance(body.prompt, str):
        return [TextPrompt(body.prompt)]
    if not 0 < len(body.prompt) <= _MAX_PROMPTS and not all(isinstance(item, int) for item in body.prompt):
        raise InvalidRequest(f"prompt: a list must have 1 to {_MAX_PROMPTS} prompts", param="prompt")
    if not body.prompt:
        raise InvalidRequest("prompt: the list is empty", param="prompt")
    tokens = [item for item in body.prompt if isinstance(item, int)]
    if len(tokens) == len(body.prompt):
        return [TokenPrompt(tuple(tokens))]
    if tokens:
        raise InvalidRequest(
            "prompt: a list must be all texts, all tokens, or all lists of tokens", param="prompt"
        )
    return [
        TextPrompt(item) if isinstance(item, str) else TokenPrompt(tuple(item))
        for item in body.prompt
        if not isinstance(item, int)
    ]


def _generations(body: CompletionRequest, identity: Identity) -> list[GenerationRequest]:
    """The engine's request for each choice of each prompt."""
    samplings = [sampling_of(body, choice) for choice in range(body.n or 1)]
    whole = GenerationRequest(
        prompt=TextPrompt(""),
        max_tokens=_DEFAULT_MAX_TOKENS if body.max_tokens is None else body.max_tokens,
        stop=stop_of(body),
        logprobs=body.logprobs,
        echo=bool(body.echo),
        owner=identity.owner,
        priority=priority_of(body, identity),
        whole=not body.stream,
    )
    return [
        msgspec.structs.replace(whole, prompt=prompt, sampling=sampling)
        for prompt in _prompts(body)
        for sampling in samplings
    ]

"""POST /completions, as in https://platform.openai.com/docs/api-reference/completions/create."""

import secrets
import time
from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from typing import Any

import msgspec
from msgspec import UnsetType

from handlers.openai.chat.format import format_of
from handlers.openai.sampling import answered_tier, common_of, limit_of, priority_of, samplings_of, wants_usage
from jan.engine.base import Delta, Finished, GenerationRequest, Started, TextPrompt, TokenPrompt
from jan.errors import InvalidRequest, NotFound, Unavailable
from jan.handler import CollectedAnswers, Frames, Handler, ModelRequest, TextForm, TokenCount
from jan.operation import Example, operation
from jan.schema.completions import Completion, CompletionChoice, CompletionLogprobs, CompletionRequest
from jan.schema.sampling import ServiceTier, TokenLogprob
from jan.schema.scopes import ANONYMOUS_OR_INFERENCE, Identity

# OpenAI's default for this endpoint.
_DEFAULT_MAX_TOKENS = 16
_MAX_PROMPTS = 64


class Completions(Handler):
    """Text completions, compatible with OpenAI's."""

    api = "openai.completions"

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
                summary="Continue a text",
                body={"model": "jan-v1-4b", "prompt": "The meaning of life is", "max_tokens": 50},
            ),
        ),
    )
    async def post(self, body: CompletionRequest) -> Any:
        """Return the text that follows a prompt. With `stream: true` it is sent as server-sent events."""
        _check(body)
        asked = _model_request(body, self.identity)
        translator = CompletionTranslator(
            body.model,
            len(asked.sequences),
            with_logprobs=body.logprobs is not None,
            with_usage=wants_usage(body) or not body.stream,
            tier=answered_tier(body, self.identity),
        )
        return await self.answer(asked, translator, stream=bool(body.stream))


class CompletionTranslator:
    """Translates the answer to one request into OpenAI's text completions. With ``with_usage``, a stream ends with
    an event of token counts."""

    def __init__(
        self,
        model: str,
        choices: int,
        *,
        with_logprobs: bool,
        with_usage: bool,
        tier: ServiceTier | UnsetType,
    ) -> None:
        self._with_logprobs = with_logprobs
        self._with_usage = with_usage
        self._piece = Completion(
            id=f"cmpl-{secrets.token_hex(12)}",
            created=int(time.time()),
            model=model,
            choices=[],
            service_tier=tier,
        )
        if with_usage:
            self._piece.usage = None
        # The length of each choice's text so far, in characters.
        self._offsets = [0] * choices

    def frames(self) -> Frames:
        """Make the encoder of events."""
        return Frames()

    def text_form(self, index: int) -> TextForm[Completion] | None:
        """Make the form of events that differ only in their text; None with log probabilities, which need the
        text's length."""
        return None if self._with_logprobs else TextForm(partial(_with_text, self._piece, index))

    def make(self, index: int, event: Started | Delta | Finished) -> Completion | list[Completion]:
        """Make events of an event of the engine: of a delta, one for each step."""
        if isinstance(event, Finished):
            return self._with(CompletionChoice(index=index, text="", finish_reason=event.reason))
        if isinstance(event, Started):
            self._offsets[index] += len(event.prompt_text)
            return _with_text(self._piece, index, event.prompt_text)
        return [self._piece_of(index, part) for part in event.parts or (event,) if part]

    def _piece_of(self, index: int, part: Delta) -> Completion:
        offset = self._offsets[index]
        self._offsets[index] += len(part.text)
        logprobs = None
        if part.logprobs:
            # The offset at which each token's text begins.
            starts = accumulate((len(token.token) for token in part.logprobs[:-1]), initial=offset)
            logprobs = _logprobs(part.logprobs, list(starts))
        return self._with(CompletionChoice(index=index, text=part.text, logprobs=logprobs))

    def _with(self, choice: CompletionChoice) -> Completion:
        return msgspec.structs.replace(self._piece, choices=[choice])

    def last(self, count: TokenCount) -> Completion | None:
        """Make the event of token counts if the request asked for it."""
        return msgspec.structs.replace(self._piece, usage=count.usage) if self._with_usage else None

    def whole(self, answers: CollectedAnswers, count: TokenCount) -> Completion:
        """Make the whole response from the collected answers."""
        choices = [
            CompletionChoice(
                index=index,
                text=answer.prompt_text + answer.text,
                logprobs=_logprobs(answer.logprobs, answer.offsets) if answer.logprobs else None,
                finish_reason=answer.reason,
            )
            for index, answer in enumerate(answers.answers)
        ]
        return msgspec.structs.replace(self._piece, choices=choices, usage=count.usage)


def _with_text(piece: Completion, index: int, text: str) -> Completion:
    return msgspec.structs.replace(piece, choices=[CompletionChoice(index=index, text=text)])


def _logprobs(tokens: Sequence[TokenLogprob], offsets: list[int]) -> CompletionLogprobs:
    return CompletionLogprobs(
        tokens=[token.token for token in tokens],
        token_logprobs=[token.logprob for token in tokens],
        top_logprobs=[{top.token: top.logprob for top in token.top_logprobs} for token in tokens],
        text_offset=offsets,
    )


def _check(body: CompletionRequest) -> None:
    """Refuse parameters that this endpoint does not support. Raises InvalidRequest."""
    if body.suffix:
        raise InvalidRequest("suffix: Filling in the middle is not supported. Leave it out.", param="suffix")
    if body.echo and body.logprobs is not None:
        raise InvalidRequest("echo: Not supported together with logprobs. Ask for one of them.", param="echo")
    if body.best_of is not None and body.best_of != (body.n or 1):
        raise InvalidRequest("best_of: Not supported; allowed: the value of n.", param="best_of")


def _prompts(body: CompletionRequest) -> list[TextPrompt | TokenPrompt]:
    """Return the prompts. A prompt is a text or a list of tokens; the request has one prompt or a list of them."""
    if isinstance(body.prompt, str):
        return [TextPrompt(body.prompt)]
    if not 0 < len(body.prompt) <= _MAX_PROMPTS and not all(isinstance(item, int) for item in body.prompt):
        raise InvalidRequest(f"prompt: A list must have 1 to {_MAX_PROMPTS} prompts.", param="prompt")
    if not body.prompt:
        raise InvalidRequest("prompt: The list is empty; allowed: at least one prompt.", param="prompt")
    tokens = [item for item in body.prompt if isinstance(item, int)]
    if len(tokens) == len(body.prompt):
        return [TokenPrompt(tuple(tokens))]
    if tokens:
        raise InvalidRequest(
            "prompt: A list must be all texts, all tokens, or all lists of tokens.", param="prompt"
        )
    return [
        TextPrompt(item) if isinstance(item, str) else TokenPrompt(tuple(item))
        for item in body.prompt
        if not isinstance(item, int)
    ]


def _model_request(body: CompletionRequest, identity: Identity) -> ModelRequest:
    """Make the request to the model: one sequence for each choice of each prompt."""
    choices = body.n or 1
    samplings = samplings_of(body, choices)
    whole = GenerationRequest(
        prompt=TextPrompt(""),
        max_tokens=_DEFAULT_MAX_TOKENS if body.max_tokens is None else limit_of(body.max_tokens),
        **common_of(body),
        output=format_of(body),
        logprobs=body.logprobs,
        echo=bool(body.echo),
        owner=identity.owner,
        priority=priority_of(body, identity),
        buffered=not body.stream,
    )
    sequences = tuple(
        msgspec.structs.replace(whole, prompt=prompt, sampling=sampling)
        for prompt in _prompts(body)
        for sampling in samplings
    )
    return ModelRequest(model=body.model, sequences=sequences, choices=choices)

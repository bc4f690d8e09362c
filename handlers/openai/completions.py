"""POST /completions, as in https://platform.openai.com/docs/api-reference/completions/create."""

from collections.abc import Sequence
from typing import Any, TypeGuard

import msgspec

from handlers.openai.chat.format import format_of
from handlers.openai.completion_forms import CompletionShape, CompletionTranslator
from handlers.openai.reports import reports_of
from handlers.openai.sampling import (
    answered_tier,
    common_of,
    limit_of,
    priority_of,
    refused,
    samplings_of,
    wants_blocks,
    wants_usage,
)
from jan.engine.base import GenerationRequest, TextPrompt, TokenPrompt
from jan.errors import InvalidRequest, NotFound, Unavailable
from jan.handler import Handler, ModelRequest
from jan.operation import Example, operation
from jan.schema.completions import Completion, CompletionRequest
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
        creates=True,
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
        self.take_request_id(body.request_id)
        asked = _model_request(body, self.identity)
        translator = CompletionTranslator(
            body.model,
            CompletionShape(
                prompts=len(asked.sequences) // asked.choices,
                generated=asked.choices,
                returned=body.n or 1,
                logprobs=body.logprobs is not None,
                prompt_scored=_scores_prompt(body),
            ),
            reports_of(body),
            with_usage=wants_usage(body) or not body.stream,
            tier=answered_tier(body, self.identity),
        )
        if wants_blocks(body):
            raise refused("stream_options.include_html", "Only answers to chats are Markdown; allowed: false.")
        return await self.answer(asked, translator, stream=bool(body.stream))


def _scores_prompt(body: CompletionRequest) -> bool:
    """Return True if the answer begins with the prompt and its log probabilities."""
    return bool(body.echo) and body.logprobs is not None


def _generated(body: CompletionRequest) -> int:
    """Return how many answers are generated for each prompt. Raises InvalidRequest."""
    returned = body.n or 1
    if body.best_of is None or body.best_of == returned:
        return returned
    if body.best_of < returned:
        raise InvalidRequest(f"best_of: Must be at least n, which is {returned}.", param="best_of")
    if body.stream:
        raise refused("best_of", "Not allowed with stream, because the best answer is known at the end.")
    return body.best_of


def _prompts(body: CompletionRequest) -> list[TextPrompt | TokenPrompt]:
    """Return the prompts. A prompt is a text or a list of tokens; the request has one prompt or a list of them."""
    if body.prompt is None or isinstance(body.prompt, str):
        return [TextPrompt(body.prompt or "", suffix=body.suffix or "")]
    if not body.prompt:
        raise InvalidRequest("prompt: The list is empty; allowed: at least one prompt.", param="prompt")
    if _all_tokens(body.prompt):
        return [TokenPrompt(tuple(body.prompt))]
    if len(body.prompt) > _MAX_PROMPTS:
        raise InvalidRequest(f"prompt: A list must have 1 to {_MAX_PROMPTS} prompts.", param="prompt")
    if any(isinstance(item, int) for item in body.prompt):
        raise InvalidRequest(
            "prompt: A list must be all texts, all tokens, or all lists of tokens.", param="prompt"
        )
    return [
        TextPrompt(item, suffix=body.suffix or "") if isinstance(item, str) else TokenPrompt(tuple(item))
        for item in body.prompt
        if not isinstance(item, int)
    ]


def _all_tokens(prompt: Sequence[str | int | list[int]]) -> TypeGuard[Sequence[int]]:
    """Return True for one prompt of token ids. Takes no Python step for each, because there may be a million."""
    return set(map(type, prompt)) == {int}


def _model_request(body: CompletionRequest, identity: Identity) -> ModelRequest:
    """Make the request to the model: one sequence for each choice of each prompt."""
    choices = _generated(body)
    samplings = samplings_of(body, choices)
    common = common_of(body)
    if _scores_prompt(body):
        common["prompt_logprobs"] = max(body.logprobs or 0, body.prompt_logprobs or 0)
    whole = GenerationRequest(
        prompt=TextPrompt(""),
        max_tokens=_DEFAULT_MAX_TOKENS if body.max_tokens is None else limit_of(body.max_tokens),
        **common,
        output=format_of(body),
        # The best of several answers are found by their log probabilities.
        logprobs=0 if body.logprobs is None and choices > (body.n or 1) else body.logprobs,
        echo=bool(body.echo),
        priority=priority_of(body, identity),
        buffered=not body.stream,
    )
    prompts = _prompts(body)
    if body.suffix and any(isinstance(prompt, TokenPrompt) for prompt in prompts):
        raise refused("suffix", "Not allowed with a prompt of tokens.")
    sequences = tuple(
        msgspec.structs.replace(whole, prompt=prompt, sampling=sampling)
        for prompt in prompts
        for sampling in samplings
    )
    return ModelRequest(model=body.model, sequences=sequences, choices=choices)

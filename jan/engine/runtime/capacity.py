"""Check that a request fits a model's context and abilities, before anything is computed."""

from types import MappingProxyType

from jan.engine.base import (
    ChatPrompt,
    EmbeddingForms,
    EmbeddingPrompt,
    GenerationRequest,
    ModelInfo,
    PairPrompt,
    TextPrompt,
    TokenPrompt,
)
from jan.errors import InvalidRequest


def token_budget(request: GenerationRequest, prompt_tokens: int, context_length: int) -> int:
    """Return how many tokens may be generated. Raises InvalidRequest if the prompt alone fills the context."""
    room = context_length - prompt_tokens
    if room < 1:
        raise prompt_too_long(request, str(prompt_tokens), context_length)
    return room if request.max_tokens is None else min(room, request.max_tokens)


def prompt_too_long(request: GenerationRequest, prompt_tokens: str, context_length: int) -> InvalidRequest:
    """Return the error for a prompt that fills the context. ``prompt_tokens``: its length, or a lower bound, in
    words.

    LiteLLM (``exception_mapping_utils.py``) and LangChain (``chat_models/base.py``) know this error by its words.
    """
    param = "messages" if isinstance(request.prompt, ChatPrompt) else "prompt"
    with_answer = "" if prompt_tokens != str(context_length) else f", {context_length + 1} with one of an answer"
    return InvalidRequest(
        f"This model's maximum context length is {context_length} tokens. However, your {param} resulted in "
        f"{prompt_tokens} tokens{with_answer}: the prompt is too long. Shorten it: "
        "prompt and answer share the context.",
        code="context_length_exceeded",
        param=param,
    )


def input_too_long(
    named: str, tokens: str, context_length: int, *, around: int = 0, of: str = "this text has"
) -> InvalidRequest:
    """Return the error for a text to embed with too many ``tokens``; ``named`` is where it is in the request.

    ``around``: special tokens that are not among them. ``of``: what is too long. vLLM's and llama-server's words
    for this error are among these.
    """
    more = f", {around} special ones not counted" if around else ""
    return InvalidRequest(
        f"{named}: This model's maximum context length is {context_length} tokens. However, {of} "
        f"{tokens} tokens{more}: it is too large. Please reduce the length of the input prompt.",
        code="context_length_exceeded",
        param=named,
    )


def _check_kind(info: ModelInfo, request: GenerationRequest) -> None:
    """Raise InvalidRequest if the model is not of the kind that the request needs."""
    prompt = request.prompt
    can = _GENERATES if info.generates else _SCORES if info.scores else _EMBEDS
    if isinstance(prompt, PairPrompt):
        if not info.scores:
            raise _cannot(can, "scores no pairs of texts", "score")
    elif not isinstance(prompt, EmbeddingPrompt):
        if not info.generates:
            raise _cannot(can, "generates nothing", "generate")
    elif info.embeds is None:
        raise _cannot(can, "embeds nothing", "embed")
    else:
        _check_dimensions(info.embeds, prompt.dimensions)


# What a model does, and where.
_GENERATES = ("generates text", "/chat/completions")
_EMBEDS = ("embeds texts", "/embeddings")
_SCORES = ("scores pairs of texts", "/rerank or /score")


def _cannot(can: tuple[str, str], lacks: str, ability: str) -> InvalidRequest:
    does, where = can
    return InvalidRequest(
        f"This model {does} and {lacks}. Use {where}, or another model.",
        code=f"model_cannot_{ability}",
        param="model",
    )


def _check_dimensions(forms: EmbeddingForms, wanted: int | None) -> None:
    full, cuts = forms.dimensions, forms.matryoshka
    if wanted is None or wanted == full or (0 < wanted < full and (cuts is None or wanted in cuts)):
        return
    allowed = f"1 to {full}" if cuts is None else ", ".join(map(str, sorted({*cuts, full})))
    raise InvalidRequest(
        f"dimensions: This model's vectors can't have {wanted} numbers; allowed: {allowed}.", param="dimensions"
    )


# Fields of a request that have another name in the API.
_FIELDS = MappingProxyType(
    {
        "stop_token_ids": "stop_tokens",
        "allowed_token_ids": "allowed_tokens",
        "return_token_ids": "token_ids",
        "truncate_prompt_tokens": "truncate",
    }
)
_NEUTRAL = GenerationRequest(prompt=TextPrompt(""))


def check_capabilities(info: ModelInfo, request: GenerationRequest) -> None:
    """Raise InvalidRequest if the request needs something that the model can't do."""
    _check_kind(info, request)
    if request.output.enforced and not info.output_formats:
        param = "tools" if request.output.must_call else "response_format"
        raise InvalidRequest("This model can't enforce an output format.", param=param)
    if request.logprobs is not None and not info.logprobs:
        raise InvalidRequest("This model gives no log probabilities.", param="logprobs")
    if isinstance(request.prompt, TokenPrompt) and not info.token_prompts:
        raise InvalidRequest("This model takes no token ids, only text.", param="prompt")
    if isinstance(request.prompt, TextPrompt) and request.prompt.suffix and not info.fills_in:
        raise InvalidRequest("suffix: This model was not trained to fill in.", param="suffix")
    for name, unserved in info.unserved.items():
        field = _FIELDS.get(name, name)
        holder, neutral = (request, _NEUTRAL) if hasattr(request, field) else (request.sampling, _NEUTRAL.sampling)
        value = getattr(holder, field)
        if value != getattr(neutral, field) and not unserved.allows(value):
            message = f"{name}: {unserved.reason}"
            raise InvalidRequest(message, code="unsupported_parameter", param=name)

"""POST /tokenize and /detokenize, GET /tokenizer_info, POST /chat/completions/render: what a model reads."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec

from handlers.openai.chat.conversation import check_alone
from handlers.openai.chat.request import model_request
from jan.engine.base import TextPrompt, Tokenization, TokenizedText, TokenPrompt
from jan.errors import InvalidRequest, NotFound, Unavailable
from jan.handler import ChatPrompt, GenerationRequest, Handler, ModelRequest
from jan.operation import Example, operation
from jan.schema.chat import ChatCompletionRequest
from jan.schema.scopes import ANONYMOUS_OR_INFERENCE, Identity
from jan.schema.tokenize import (
    DetokenizeRequest,
    DetokenizeResponse,
    RenderedPrompt,
    TokenizeRequest,
    TokenizeResponse,
    TokenizerInfo,
    TokenizerQuery,
    TokenPiece,
)
from jan.tasks import apart

_HELLO: list[dict[str, Any]] = [{"role": "user", "content": "Hello, how are you?"}]
# Tokens that are encoded at once. Between two pieces another thread may run.
_PIECE = 1 << 13


class TokenizerHandler(Handler):
    """The base of all: asks a model about tokens. Nothing is generated, and no tokens are counted."""

    api = "tokenizer"

    def model_or_first(self, name: str | None) -> str:
        """Return the model of a request that need not name one."""
        return self.services.models.names[0] if name is None else name

    async def tokens(self, model: str, prompt: Tokenization) -> TokenizedText:
        """Return the tokens and the text of a prompt. Raises NotFound, and what the model refuses."""
        return await self.read_tokens(ModelRequest(model=model, sequences=(GenerationRequest(prompt=prompt),)))


class Tokenize(TokenizerHandler):
    """The tokens of a text or a chat, as with vLLM and llama-server."""

    @operation(
        summary="Tokenise a text or a chat",
        access=ANONYMOUS_OR_INFERENCE,
        tag="inference",
        request=TokenizeRequest,
        response=TokenizeResponse,
        errors=(NotFound, Unavailable),
        examples=(
            Example(summary="The tokens of a text", body={"model": "jan-v1-4b", "prompt": "Hello!"}),
            Example(
                summary="The tokens of a chat",
                body={"model": "jan-v1-4b", "messages": _HELLO, "return_token_strs": True},
            ),
        ),
    )
    async def post(self, body: TokenizeRequest) -> Any:
        """Return the tokens of a text, or of a chat as the model gets it: 1,048,576 at most, whatever the
        context."""
        model = self.model_or_first(body.model)
        found = await self.tokens(model, _tokenization(body, model, self))
        engine = await self.services.models.engine(model)

        def shown() -> msgspec.Raw:
            tokens = _pieces(found) if body.with_pieces else _numbers(found)
            return _encoded(
                TokenizeResponse(
                    count=len(found.tokens),
                    max_model_len=engine.info.context_length,
                    tokens=cast(list[int | TokenPiece], tokens),
                    token_strs=cast(list[str], _spelled(found)) if body.return_token_strs else None,
                )
            )

        return await apart(len(found.tokens), shown)


class Detokenize(TokenizerHandler):
    """The text of tokens, as with vLLM and llama-server."""

    @operation(
        summary="Turn tokens into text",
        access=ANONYMOUS_OR_INFERENCE,
        tag="inference",
        request=DetokenizeRequest,
        response=DetokenizeResponse,
        errors=(NotFound, Unavailable),
        examples=(Example(summary="The text of two tokens", body={"model": "jan-v1-4b", "tokens": [19556, 17]}),),
    )
    async def post(self, body: DetokenizeRequest) -> DetokenizeResponse:
        """Return the text of tokens. Bytes that are not UTF-8 become U+FFFD."""
        prompt = Tokenization(TokenPrompt(tuple(body.tokens)))
        text = (await self.tokens(self.model_or_first(body.model), prompt)).text
        return DetokenizeResponse(prompt=text) if body.model else DetokenizeResponse(prompt=text, content=text)


class TokenizerDetails(TokenizerHandler):
    """A model's tokenizer, as with vLLM."""

    @operation(
        summary="Get a model's tokenizer",
        access=ANONYMOUS_OR_INFERENCE,
        tag="inference",
        query=TokenizerQuery,
        response=TokenizerInfo,
        errors=(NotFound, Unavailable),
        examples=(Example(summary="The first model's tokenizer"),),
    )
    async def get(self, query: TokenizerQuery) -> TokenizerInfo:
        """Return the kind of a model's tokenizer, its special tokens and its chat template."""
        info = (await self.services.models.engine(self.model_or_first(query.model))).info
        if info.tokenizer is None:
            raise InvalidRequest("model: This model's tokenizer is not known.", param="model")
        found = info.tokenizer
        return TokenizerInfo(
            tokenizer_class=found.kind,
            vocab_size=found.size,
            model_max_length=info.context_length,
            bos_token=found.begin or None,
            eos_token=found.end or None,
            chat_template=found.chat_template or None,
        )


class ChatRendering(TokenizerHandler):
    """The prompt of a chat completion."""

    @operation(
        summary="Show the prompt of a chat completion",
        access=ANONYMOUS_OR_INFERENCE,
        tag="inference",
        request=ChatCompletionRequest,
        response=RenderedPrompt,
        errors=(NotFound, Unavailable),
        examples=(Example(summary="The prompt of a question", body={"model": "jan-v1-4b", "messages": _HELLO}),),
    )
    async def post(self, body: ChatCompletionRequest) -> Any:
        """Return the prompt that the model would get of this request, as text and as tokens. Nothing is
        generated. A `conversation_id` is refused, because the history is not read."""
        if body.conversation_id is not None:
            raise InvalidRequest("conversation_id: Only the request itself is rendered.", param="conversation_id")
        found = await self.tokens(body.model, Tokenization(_prompt_of(body, self.identity)))

        def shown() -> msgspec.Raw:
            numbers = cast(list[int], _numbers(found))
            count = len(found.tokens)
            return _encoded(RenderedPrompt(model=body.model, prompt=found.text, token_ids=numbers, count=count))

        return await apart(len(found.tokens), shown)


def _encoded(answer: msgspec.Struct) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(answer))


def _numbers(found: TokenizedText) -> msgspec.Raw:
    return _in_pieces(len(found.tokens), lambda start, end: found.tokens[start:end])


def _spelled(found: TokenizedText) -> msgspec.Raw:
    return _in_pieces(len(found.tokens), lambda start, end: found.spelled[start:end])


def _pieces(found: TokenizedText) -> msgspec.Raw:
    def piece(start: int, end: int) -> list[TokenPiece]:
        pairs = zip(found.tokens[start:end], found.spelled[start:end], strict=True)
        return [TokenPiece(id=token, piece=spelled) for token, spelled in pairs]

    return _in_pieces(len(found.tokens), piece)


def _in_pieces(count: int, piece: Callable[[int, int], Sequence[Any]]) -> msgspec.Raw:
    """Return a list of ``count`` items as JSON, of which ``piece`` makes those from one place to another."""
    starts = range(0, count, _PIECE)
    encoded = [msgspec.json.encode(piece(start, start + _PIECE))[1:-1] for start in starts]
    return msgspec.Raw(b"[%b]" % b",".join(encoded))


def _tokenization(body: TokenizeRequest, model: str, handler: Handler) -> Tokenization:
    """Return the prompt of a request. Raises InvalidRequest unless it has exactly one."""
    given = [name for name in ("prompt", "messages", "content") if getattr(body, name) is not None]
    if len(given) != 1:
        message = (
            f"{given[1]}: Not allowed with {given[0]}." if given else "prompt: A prompt or messages are needed."
        )
        raise InvalidRequest(message, code="invalid_value", param=given[1] if given else "prompt")
    if body.messages is None:
        text = body.content if body.prompt is None else body.prompt
        special = body.add_special_tokens if body.add_special_tokens is not None else body.add_special
        return Tokenization(TextPrompt(text or ""), special=body.content is None if special is None else special)
    chat = ChatCompletionRequest(
        model=model,
        messages=body.messages,
        tools=body.tools,
        add_generation_prompt=body.add_generation_prompt,
        continue_final_message=body.continue_final_message,
        chat_template_kwargs=body.chat_template_kwargs,
    )
    prompt = _prompt_of(chat, handler.identity)
    return Tokenization(prompt, special=body.add_special_tokens is not False)


def _prompt_of(chat: ChatCompletionRequest, identity: Identity) -> ChatPrompt:
    """Return the prompt of a chat. Raises InvalidRequest, also for one without messages."""
    check_alone(chat)
    prompt = model_request(chat, identity).sequences[0].prompt
    assert isinstance(prompt, ChatPrompt)  # made from a chat completion request
    return prompt

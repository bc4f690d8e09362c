"""POST /messages and POST /messages/count_tokens, as in https://docs.anthropic.com/en/api/messages."""

import math
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from handlers.anthropic.message_translator import MessageTranslator, error_of
from handlers.anthropic.translated_request import TranslatedRequest
from handlers.openai.chat.request import model_request
from jan.errors import JanError, NotFound, Unavailable
from jan.handler import Handler, Standing, tightest
from jan.operation import Example, operation
from jan.schema.anthropic import MessagesRequest, PromptOfMessages
from jan.schema.anthropic_answer import AnsweredMessage, CountedTokens, MessageEvent, MessagesErrorEnvelope
from jan.schema.scopes import ANONYMOUS_OR_INFERENCE

_HEADERS = {
    "anthropic-version": "Version of the API; any is accepted",
    "anthropic-beta": "Names of features that are tried out; any are accepted",
}
_HELLO: list[dict[str, Any]] = [{"role": "user", "content": "Hello, how are you?"}]


class MessagesHandler(Handler):
    """The base of both: errors and headers in Anthropic's form."""

    api = "anthropic.messages"
    error_type = MessagesErrorEnvelope

    @classmethod
    def error_body(cls, error: JanError, request_id: str) -> msgspec.Struct:
        """Make the body of an error in Anthropic's form."""
        return error_of(error, request_id)

    def complete_headers(self) -> None:
        """Name the request's id as Anthropic does too."""
        self.set_header("request-id", self.request_id)
        super().complete_headers()

    def limit_headers(
        self, requests: tuple[Standing, ...], tokens: tuple[Standing, ...], now: int
    ) -> Sequence[tuple[str, str]]:
        """Make the headers about limits, under Anthropic's names too."""
        found = [*super().limit_headers(requests, tokens, now)]
        for standing in (tightest(requests), tightest(tokens)):
            if standing is not None:
                found += _limit_headers(standing)
        return found

    def translated(self, body: PromptOfMessages) -> TranslatedRequest:
        """Return the request in OpenAI's form, and name in the headers what nothing here uses."""
        translated = TranslatedRequest(body)
        self.ignore(*translated.ignored)
        return translated


class Messages(MessagesHandler):
    """Messages, compatible with Anthropic's."""

    @operation(
        summary="Create a message",
        access=ANONYMOUS_OR_INFERENCE,
        tag="inference",
        request=MessagesRequest,
        response=AnsweredMessage,
        events=MessageEvent,
        limit="inference",
        creates=True,
        headers=_HEADERS,
        errors=(NotFound, Unavailable),
        examples=(
            Example(
                summary="A question by Anthropic's API",
                body={"model": "jan-v1-4b", "max_tokens": 50, "messages": _HELLO},
            ),
        ),
    )
    async def post(self, body: MessagesRequest) -> Any:
        """Return the model's answer to a conversation, in Anthropic's form. With `stream: true` it is sent as
        server-sent events.

        Nothing is stored. `max_tokens` may be more than the context has room for. If the last message is the
        assistant's, the answer continues it. Tools that Anthropic runs are left out and named in `X-Jan-Ignored`.
        """
        translated = self.translated(body)
        translator = MessageTranslator(
            f"msg_{secrets.token_hex(12)}",
            body.model,
            shows_thinking=body.thinking is None or body.thinking.type != "disabled",
            asks_cache=translated.asks_cache,
        )
        with translated.names.used_by(self):
            asked = model_request(translated.chat, self.identity)
            return await self.answer(asked, translator, stream=bool(body.stream))


class MessageTokens(MessagesHandler):
    """The number of tokens that a prompt has."""

    @operation(
        summary="Count the tokens of a message",
        access=ANONYMOUS_OR_INFERENCE,
        tag="inference",
        request=PromptOfMessages,
        response=CountedTokens,
        headers=_HEADERS,
        errors=(NotFound, Unavailable),
        examples=(Example(summary="How long is this question?", body={"model": "jan-v1-4b", "messages": _HELLO}),),
    )
    async def post(self, body: PromptOfMessages) -> CountedTokens:
        """Return the number of tokens of a prompt, which is what the usage of its answer says. Nothing is
        generated."""
        translated = self.translated(body)
        with translated.names.used_by(self):
            asked = model_request(translated.chat, self.identity)
            return CountedTokens(input_tokens=await self.count_prompt(asked))


def _limit_headers(standing: Standing) -> list[tuple[str, str]]:
    unit = standing.window.unit
    ends = datetime.fromtimestamp(math.ceil(standing.counter.ends_at / 1000), UTC)
    return [
        (f"anthropic-ratelimit-{unit}-limit", str(standing.window.limit)),
        (f"anthropic-ratelimit-{unit}-remaining", str(standing.remaining)),
        (f"anthropic-ratelimit-{unit}-reset", f"{ends:%Y-%m-%dT%H:%M:%SZ}"),
    ]

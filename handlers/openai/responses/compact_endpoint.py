"""POST /responses/compact, as in https://platform.openai.com/docs/api-reference/responses/compact."""

import secrets
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from handlers.openai.chat.request import model_request
from handlers.openai.responses.chat_request import ChatRequestOfResponse
from handlers.openai.responses.examples_of_responses import COMPACTED
from handlers.openai.responses.item_ids import item_id
from handlers.openai.responses.kept_response import after, follows, turn_of
from handlers.openai.responses.referenced_items import with_referenced_items
from handlers.openai.responses.response_translator import usage_of
from handlers.openai.responses.sent_items import SUMMARY, pieces_of
from handlers.openai.responses.shown_items import items_of
from handlers.openai.responses.summaries import ask_for_summary, compaction_item
from jan.engine.base import Delta, Finished, Started
from jan.errors import Conflict, NotFound, Unavailable
from jan.handler import CollectedAnswers, Frames, Handler, TextForm, TokenCount, Turn
from jan.operation import operation
from jan.schema.compaction import CompactedConversation, CompactionRequest
from jan.schema.scopes import ANONYMOUS_OR_INFERENCE
from jan.tasks import apart

# What clients send as for a response. The summary is plain text, whatever the answers of the conversation are.
_UNUSED = ("tools", "tool_choice", "text", "truncation")


class Compactions(Handler):
    """Conversations in short, compatible with OpenAI's."""

    api = "openai.responses"

    @operation(
        summary="Compact a conversation",
        access=ANONYMOUS_OR_INFERENCE,
        tag="inference",
        request=CompactionRequest,
        response=CompactedConversation,
        limit="inference",
        creates=True,
        errors=(NotFound, Conflict, Unavailable),
        examples=COMPACTED,
    )
    async def post(self, body: CompactionRequest) -> Any:
        """Return items that replace a conversation in the next request: the messages of the user, and one item
        with a summary of everything, which the model writes.

        Only this server can read the summary, and only for its owner. Nothing is stored.
        """
        if follows(body):
            self.require("read")
        body = await with_referenced_items(self, body)
        texts = self.services.encrypted_texts.of(self.identity.owner)
        translated = await apart(pieces_of(body.input), lambda: ChatRequestOfResponse(body, texts))
        self.ignore(*translated.ignored, *(name for name in _UNUSED if getattr(body, name)))
        if not follows(body):
            translated.check()
        engine = await self.services.models.engine(body.model)
        ask_for_summary(translated, engine.info.context_length)
        translated.chat.service_tier = body.service_tier
        with translated.names.used_by(self):
            asked, turn = model_request(translated.chat, self.identity), None
            if follows(body):
                turn = await turn_of(self.services, self.user_id, body, translated, self.mint)
                asked = after(turn, asked, translated)
            translator = _CompactionTranslator(_kept(body, turn), partial(texts.encrypt, "compaction"))
            return await self.answer(asked, translator, stream=False)


def _kept(body: CompactionRequest, turn: Turn | None) -> list[dict[str, Any]]:
    """Return the messages of the user, stored and sent ones, but no earlier summary."""
    stored = [] if turn is None else [item for record in turn.history for item in items_of(record)]
    sent = [{"role": "user", "content": body.input}] if isinstance(body.input, str) else body.input
    users = [item for item in (*stored, *sent) if item.get("role") == "user" and item.get("content")]
    return [item for item in map(_as_message, users) if not _is_summary(item["content"])]


def _as_message(item: dict[str, Any]) -> dict[str, Any]:
    """Return a message of the user in its long form."""
    content = item["content"]
    if isinstance(content, str):
        content = [{"type": "input_text", "text": content}]
    return {"status": "completed", **item, "type": "message", "content": content}


def _is_summary(content: Sequence[dict[str, Any]]) -> bool:
    return str(content[0].get("text", "")).startswith(SUMMARY)


class _CompactionTranslator:
    """Translates a model's summary into a compacted conversation, which is never streamed."""

    def __init__(self, kept: Sequence[dict[str, Any]], encrypt: Callable[[str], str]) -> None:
        self._kept = kept
        self._encrypt = encrypt

    def frames(self) -> Frames:
        return Frames()

    def text_form(self, _index: int) -> TextForm[Any] | None:
        return None

    def make(self, _index: int, _event: Started | Delta | Finished) -> None:
        return None

    def last(self, _count: TokenCount) -> None:
        return None

    def whole(self, answers: CollectedAnswers, count: TokenCount) -> CompactedConversation:
        """Make the compacted conversation. Raises Unavailable for an answer without text."""
        own = f"resp_{secrets.token_hex(16)}"
        output = [{"id": item_id("msg", own, at), **item} for at, item in enumerate(self._kept)]
        [answer] = answers.answers
        summary = msgspec.to_builtins(compaction_item(own, len(output), answer.text, self._encrypt))
        return CompactedConversation(
            id=own, created_at=int(time.time()), output=[*output, summary], usage=usage_of(count.usage)
        )

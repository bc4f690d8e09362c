"""Summaries of conversations by a model: how they are asked for, and the item that each becomes."""

from collections.abc import Callable
from typing import Any

import msgspec

from handlers.openai.responses.chat_request import ChatRequestOfResponse
from handlers.openai.responses.item_ids import item_id
from handlers.openai.responses.response_translator import ResponseTranslator
from jan.engine.base import Delta
from jan.errors import Unavailable
from jan.handler import CollectedAnswer, TextForm
from jan.schema.messages import UserMessage
from jan.schema.response_events import OutputItemAdded, OutputItemDone, ResponseEvent
from jan.schema.response_items import CompactionOutput, ItemStatus, OutputItem
from jan.schema.responses import ResponseRequest
from jan.schema.sampling import FinishReason

_ASKED = (
    "Sum up our conversation so far, for someone who goes on with it and has not read it. Say what I want, what "
    "was done, what was found out and decided, and what is left to do. Quote the names, paths, numbers and "
    "passages that are still needed. Write nothing but the summary."
)
# Longest summary: tokens, and the part of the model's context, so that there is room for what follows it.
_MOST_TOKENS = 4096
_PART_OF_CONTEXT = 4
_TRIGGER = "compaction_trigger"


def without_trigger(body: ResponseRequest) -> ResponseRequest | None:
    """Return a request for a summary instead of an answer without what says so; None for any other request."""
    if isinstance(body.input, str) or not body.input or body.input[-1].get("type") != _TRIGGER:
        return None
    return msgspec.structs.replace(body, input=body.input[:-1])


def ask_for_summary(translated: ChatRequestOfResponse, context_length: int) -> None:
    """Let a request ask for a summary of its conversation, in plain text. ``context_length``: the model's."""
    translated.add_question(UserMessage(content=_ASKED))
    chat = translated.chat
    chat.tools = chat.tool_choice = chat.response_format = None
    chat.max_tokens = max(1, min(_MOST_TOKENS, context_length // _PART_OF_CONTEXT))


def compaction_item(own: str, at: int, summary: str, encrypt: Callable[[str], str]) -> CompactionOutput:
    """Return a summary as the item at a number of the output of ``own``. Raises Unavailable if it is empty."""
    if not summary.strip():
        raise Unavailable(
            "The model wrote no summary. Try again, with a model that has room for one.",
            code="no_summary",
            headers={"x-should-retry": "false"},
        )
    return CompactionOutput(id=item_id("cmp", own, at), encrypted_content=encrypt(summary.strip()))


class SummaryTranslator(ResponseTranslator):
    """Translates a summary into a response whose only item is a compaction. ``encrypt``: encrypts the summary."""

    def __init__(self, response: Any, encrypt: Callable[[str], str]) -> None:
        super().__init__(response, custom=frozenset(), with_logprobs=False)
        self._hide = encrypt
        self._summary: list[str] = []

    def text_form(self, _index: int) -> TextForm[Any] | None:
        """Return None: no text is sent."""
        return None

    def _of_part(self, part: Delta) -> list[ResponseEvent]:
        self._summary.append(part.text)
        return []

    def end(self, _status: ItemStatus, *, complete: bool = True) -> list[ResponseEvent]:
        """Make the events of the item, which is there at once. Raises Unavailable if there is no summary."""
        item = compaction_item(self.response.id, 0, "".join(self._summary), self._hide)
        self._done.append(item)
        return [OutputItemAdded(output_index=0, item=item), OutputItemDone(output_index=0, item=item)]

    def output_of(self, answer: CollectedAnswer, _reason: FinishReason) -> list[OutputItem]:
        """Return the item of a whole summary. Raises Unavailable if it is empty."""
        return [compaction_item(self.response.id, 0, answer.text, self._hide)]

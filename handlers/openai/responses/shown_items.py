"""Shows stored messages as items of responses."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from handlers.openai.responses.item_ids import item_id, response_id
from jan.schema.response_items import (
    CustomCallOutput,
    FunctionCallOutput,
    ItemStatus,
    MessageOutput,
    OutputItem,
    ReasoningContent,
    ReasoningOutput,
    ShownItem,
    TextContent,
)
from jan.schema.sampling import FinishReason, TokenLogprob
from jan.schema.stored_items import (
    JsonObject,
    StoredCall,
    StoredCustomCall,
    StoredItems,
    StoredParts,
    StoredReasoning,
    StoredResult,
    StoredText,
)
from jan.storage.records import MessageRecord

#: Reasons of an end that leaves an answer incomplete.
CUT: tuple[FinishReason, ...] = ("length", "content_filter")


def output_of(message: MessageRecord) -> list[OutputItem]:
    """Return the items of a stored answer, with the ids that they had when it was made."""
    return answer_items(response_id(message.id), message.items, last=progress_status(message))


def answer_items(
    own: str,
    items: StoredItems,
    *,
    last: ItemStatus,
    logprobs: Sequence[TokenLogprob] = (),
    encrypt: Callable[[str], str] | None = None,
) -> list[OutputItem]:
    """Return the items of an answer as responses have them. One without anything has an empty message.

    ``own``: the id of the response. ``items``: as they are stored. ``last``: the last item's status.
    ``encrypt``: see ``reasoning_item``.
    """
    output: list[ShownItem] = []
    for item in items:
        if isinstance(item, StoredText | StoredParts):
            if text := item.text if isinstance(item, StoredText) else _text_of(item.parts):
                output.append(_message(text, own, len(output), logprobs))
        elif isinstance(item, StoredReasoning):
            output.append(reasoning_item(item_id("rs", own, len(output)), item.text, "completed", encrypt))
        elif not isinstance(item, StoredResult):
            output.append(_shown_call(item, own, len(output)))
    output = output or [_message("", own, 0, logprobs)]
    output[-1].status = last
    return [*output]


def reasoning_item(
    own: str, text: str, status: ItemStatus, encrypt: Callable[[str], str] | None
) -> ReasoningOutput:
    """Return reasoning as an item, also encrypted by ``encrypt`` for the client to keep, unless that is None."""
    encrypted = UNSET if encrypt is None else encrypt(text)
    content = [ReasoningContent(text=text)]
    return ReasoningOutput(id=own, status=status, content=content, encrypted_content=encrypted)


def _message(text: str, own: str, at: int, logprobs: Sequence[TokenLogprob]) -> MessageOutput:
    said = TextContent(text=text, logprobs=list(logprobs))
    return MessageOutput(id=item_id("msg", own, at), status="completed", content=[said])


def _shown_call(item: StoredCall | StoredCustomCall, own: str, at: int) -> ShownItem:
    names = {"name": item.name} if item.namespaced is UNSET else msgspec.structs.asdict(item.namespaced)
    if isinstance(item, StoredCustomCall):
        number = item_id("ctc", own, at)
        return CustomCallOutput(id=number, status="completed", call_id=item.id, input=item.input, **names)
    number = item_id("fc", own, at)
    return FunctionCallOutput(id=number, status="completed", call_id=item.id, arguments=item.arguments, **names)


def progress_status(message: MessageRecord) -> ItemStatus:
    """Return how far a stored answer is."""
    if message.status == "streaming":
        return "in_progress"
    return "completed" if message.status == "complete" and message.finish_reason not in CUT else "incomplete"


def _text_of(content: str | Sequence[JsonObject] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(str(part.get("text", part.get("refusal", ""))) for part in content)


def _part(part: JsonObject) -> JsonObject:
    """Return a part of a user's message as Responses have it."""
    kind = part.get("type")
    if kind == "image_url":
        return {"type": "input_image", "image_url": part["image_url"].get("url"), "detail": "auto"}
    if kind == "file":
        return {"type": "input_file", **part["file"]}
    return {**part, "type": "input_text"} if kind == "text" else part


def items_of(message: MessageRecord) -> list[dict[str, Any]]:
    """Return a stored message as items of an input."""
    if message.role == "assistant":
        return [msgspec.to_builtins(item) for item in output_of(message)]
    own: dict[str, Any] = {"id": message.id, "status": "completed"}
    if message.role == "tool":
        result = {"call_id": message.tool_call_id or "", "output": _text_of(message.content)}
        return [{"type": "function_call_output", **own, **result}]
    parts = [{"type": "text", "text": message.content}] if isinstance(message.content, str) else message.content
    return [{"type": "message", **own, "role": message.role, "content": [_part(part) for part in parts or ()]}]

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
    TextContent,
)
from jan.schema.sampling import FinishReason, TokenLogprob
from jan.storage.records import JsonObject, MessageRecord

#: Reasons of an end that leaves an answer incomplete.
CUT: tuple[FinishReason, ...] = ("length", "content_filter")


def output_of(message: MessageRecord) -> list[OutputItem]:
    """Return the items of a stored answer, with the ids that they had when it was made."""
    return answer_items(
        response_id(message.id),
        reasoning=message.reasoning or "",
        text=_text_of(message.content),
        calls=message.tool_calls or (),
        last=progress_status(message),
    )


def answer_items(
    own: str,
    *,
    reasoning: str,
    text: str,
    calls: Sequence[JsonObject],
    last: ItemStatus,
    logprobs: Sequence[TokenLogprob] = (),
    encrypt: Callable[[str], str] | None = None,
) -> list[OutputItem]:
    """Return the items of an answer. One without anything has an empty message.

    ``own``: the id of the response. ``calls``: tool calls as messages have them. ``last``: the last item's status.
    ``encrypt``: see ``reasoning_item``.
    """
    output: list[OutputItem] = []
    if reasoning:
        output.append(reasoning_item(item_id("rs", own, 0), reasoning, "completed", encrypt))
    if text or not (reasoning or calls):
        number = item_id("msg", own, len(output))
        said = TextContent(text=text, logprobs=list(logprobs))
        output.append(MessageOutput(id=number, status="completed", content=[said]))
    for call in calls:
        output.append(_call(call, own, len(output)))
    output[-1].status = last
    return output


def reasoning_item(
    own: str, text: str, status: ItemStatus, encrypt: Callable[[str], str] | None
) -> ReasoningOutput:
    """Return reasoning as an item, also encrypted by ``encrypt`` for the client to keep, unless that is None."""
    encrypted = UNSET if encrypt is None else encrypt(text)
    content = [ReasoningContent(text=text)]
    return ReasoningOutput(id=own, status=status, content=content, encrypted_content=encrypted)


def progress_status(message: MessageRecord) -> ItemStatus:
    """Return how far a stored answer is."""
    if message.status == "streaming":
        return "in_progress"
    return "completed" if message.status == "complete" and message.finish_reason not in CUT else "incomplete"


def _call(call: JsonObject, own: str, at: int) -> OutputItem:
    number = str(call.get("id", ""))
    if custom := call.get("custom"):
        return CustomCallOutput(
            id=item_id("ctc", own, at),
            status="completed",
            call_id=number,
            **(call.get("namespaced") or {"name": custom["name"]}),
            input=custom["input"],
        )
    function = call.get("function", {})
    return FunctionCallOutput(
        id=item_id("fc", own, at),
        status="completed",
        call_id=number,
        **(call.get("namespaced") or {"name": function.get("name", "")}),
        arguments=function.get("arguments", ""),
    )


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
    if message.role == "tool":
        output = _text_of(message.content)
        return [
            {
                "type": "function_call_output",
                "id": message.id,
                "status": "completed",
                "call_id": message.tool_call_id or "",
                "output": output,
            }
        ]
    parts = [{"type": "text", "text": message.content}] if isinstance(message.content, str) else message.content
    content = [_part(part) for part in parts or ()]
    return [{"type": "message", "id": message.id, "status": "completed", "role": message.role, "content": content}]

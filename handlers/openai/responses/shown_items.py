"""Shows stored messages as items of responses."""

from collections.abc import Sequence
from typing import Any

import msgspec

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
from jan.storage.records import JsonObject, MessageRecord

_PARTS = {"text": "input_text", "image_url": "input_image", "file": "input_file"}


def output_of(message: MessageRecord) -> list[OutputItem]:
    """Return the items of a stored answer, with the ids that they had when it was made."""
    own, last = response_id(message.id), _status_of(message)
    output: list[OutputItem] = []
    if message.reasoning:
        content = [ReasoningContent(text=message.reasoning)]
        output.append(ReasoningOutput(id=item_id("rs", own, 0), status="completed", content=content))
    text = _text_of(message.content)
    if text or not message.tool_calls:
        number = item_id("msg", own, len(output))
        output.append(MessageOutput(id=number, status="completed", content=[TextContent(text=text)]))
    for call in message.tool_calls or ():
        output.append(_call(call, own, len(output)))
    output[-1].status = last
    return output


def _status_of(message: MessageRecord) -> ItemStatus:
    if message.status == "streaming":
        return "in_progress"
    return "completed" if message.status == "complete" and message.finish_reason != "length" else "incomplete"


def _call(call: JsonObject, own: str, at: int) -> OutputItem:
    number = str(call.get("id", ""))
    if custom := call.get("custom"):
        return CustomCallOutput(
            id=item_id("ctc", own, at),
            status="completed",
            call_id=number,
            name=custom["name"],
            input=custom["input"],
        )
    function = call.get("function", {})
    return FunctionCallOutput(
        id=item_id("fc", own, at),
        status="completed",
        call_id=number,
        name=function.get("name", ""),
        arguments=function.get("arguments", ""),
    )


def _text_of(content: str | Sequence[JsonObject] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(str(part.get("text", "")) for part in content)


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
    content = [{**part, "type": _PARTS.get(part.get("type", ""), part.get("type"))} for part in parts or ()]
    return [{"type": "message", "id": message.id, "status": "completed", "role": message.role, "content": content}]

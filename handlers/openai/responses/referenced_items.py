"""Items of an input that only name stored items, as the Vercel AI SDK sends what it has got in earlier answers."""

from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec

from handlers.openai.responses.item_ids import message_ids
from handlers.openai.responses.shown_items import items_of
from handlers.openai.responses.shown_response import shown_response
from handlers.openai.sampling import refused
from jan.auth.encrypted_texts import TextsOfOwner
from jan.errors import AuthenticationFailed, NotFound
from jan.handler import Handler
from jan.schema.responses import PromptOfResponse
from jan.storage.records import MessageRecord
from jan.tasks import apart

B = TypeVar("B", bound=PromptOfResponse)

_REFERENCE = "item_reference"
# Most references of a request: as many as it may have messages.
_MOST = 4096


async def with_referenced_items(handler: Handler, body: B) -> B:
    """Return a request with the stored items of the caller in place of those that name them by their ``id``.

    Raises NotFound and InvalidRequest that name the wrong one, AuthenticationFailed and PermissionDenied.
    """
    if isinstance(body.input, str):
        return body
    named = {at: _name_of(at, item) for at, item in enumerate(body.input) if item.get("type") == _REFERENCE}
    if not named:
        return body
    if handler.identity.anonymous:
        raise AuthenticationFailed(
            f"An item of the type {_REFERENCE} names a stored one, and nothing is stored of callers without "
            "credentials. Send a token or API key, or whole items.",
            code="missing_credentials",
            param="input",
        )
    handler.require("read")
    if len(named) > _MOST:
        raise refused("input", f"It has {len(named)} items of the type {_REFERENCE}; allowed: {_MOST}.")
    ids = sorted({own for name in named.values() for own in message_ids(name)})
    stored = await handler.services.conversations.among(handler.user_id, ids)
    texts = handler.services.encrypted_texts.of(handler.identity.owner)
    found = await apart(len(stored), lambda: _by_id(stored, texts))
    for at, name in named.items():
        if name not in found:
            raise NotFound(
                f"Item with id '{name[:64]}' not found. Only items of stored responses can be named.",
                code="item_not_found",
                param=f"input[{at}].id",
            )
    items = [found[named[at]] if at in named else item for at, item in enumerate(body.input)]
    return msgspec.structs.replace(body, input=items)


def _name_of(at: int, item: dict[str, Any]) -> str:
    name = item.get("id")
    if not isinstance(name, str) or not name:
        raise refused(f"input[{at}].id", "The id of a stored item is required.")
    return name


def _by_id(stored: Iterable[MessageRecord], texts: TextsOfOwner) -> dict[str, dict[str, Any]]:
    """Return the items of messages by the ids that clients know. Deleted messages have none."""
    items: list[dict[str, Any]] = []
    for message in stored:
        if message.is_emptied:
            continue
        if message.role == "assistant":
            items += map(msgspec.to_builtins, shown_response(message, texts).output)
        else:
            items += items_of(message)
    return {item["id"]: item for item in items}

"""Ids of responses and of their items. An answer has the same ids whenever it is shown."""

import re

_RESPONSE, _MESSAGE = "resp_", "msg_"
_PART = re.compile(r"[a-z]+_(.+)_\d+")


def response_id(message_id: str) -> str:
    """Return the id of the response that a stored answer is."""
    return _RESPONSE + message_id.removeprefix(_MESSAGE)


def message_id(own: str) -> str:
    """Return the id of the stored answer that a response is."""
    return _MESSAGE + own.removeprefix(_RESPONSE)


def item_id(prefix: str, own: str, at: int) -> str:
    """Return the id of the item at a number of a response's output. ``own``: the id of the response."""
    return f"{prefix}_{own.removeprefix(_RESPONSE)}_{at}"


def message_ids(item: str) -> list[str]:
    """Return the ids of the stored messages that an item may be of: itself, or the answer that it is a part of."""
    part = _PART.fullmatch(item)
    return [item] if part is None else [item, _MESSAGE + part[1]]

"""Ids of responses and of their items. An answer has the same ids whenever it is shown."""

import hashlib

_RESPONSE, _MESSAGE = "resp_", "msg_"


def response_id(message_id: str) -> str:
    """Return the id of the response that a stored answer is."""
    return _RESPONSE + message_id.removeprefix(_MESSAGE)


def message_id(own: str) -> str:
    """Return the id of the stored answer that a response is."""
    return _MESSAGE + own.removeprefix(_RESPONSE)


def item_id(prefix: str, own: str, at: int) -> str:
    """Return the id of the item at a number of a response's output. ``own``: the id of the response."""
    digest = hashlib.blake2b(f"{own} {at}".encode(), digest_size=16)
    return f"{prefix}_{digest.hexdigest()}"

"""Ids of completions that are stored: each names the message that the answer is."""

_COMPLETION, _MESSAGE = "chatcmpl-", "msg_"


def completion_id_of(message_id: str) -> str:
    """Return the id of the completion that a stored answer is."""
    return _COMPLETION + message_id.removeprefix(_MESSAGE)


def message_id_of(completion_id: str) -> str | None:
    """Return the id of the stored answer that a completion is; None for an id of another form."""
    if not completion_id.startswith(_COMPLETION):
        return None
    return _MESSAGE + completion_id.removeprefix(_COMPLETION)

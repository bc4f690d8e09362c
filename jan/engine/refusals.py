"""Why an engine can't serve a request, in words, and when to come again."""

from jan.errors import InvalidRequest, Unavailable, when_to_retry

_RETRY = when_to_retry(5000)


def reason_of(error: BaseException) -> str:
    """Return the words of a library's exception on one line, to end a sentence of ours: without a full stop."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def queue_full(limit: int) -> Unavailable:
    """Nobody has room."""
    message = f"the model has {limit} requests waiting, which is its limit; try again shortly"
    return Unavailable(message, code="overloaded", headers=_RETRY)


def share_full(held: int, free: int) -> Unavailable:
    """There is room, but not for this owner."""
    return Unavailable(
        f"you have {held} requests waiting for the model and {free} places are left, which are kept for others; "
        "try again when some of yours have begun",
        code="overloaded",
        headers=_RETRY,
    )


def too_many_sequences(count: int, limit: int) -> InvalidRequest:
    """A request that the queue will never take, however empty it is."""
    return InvalidRequest(
        f"this asks for {count} answers at once (prompts times n); the model takes at most {limit} of one caller",
        code="invalid_value",
        param="n",
    )


def waited_too_long(seconds: float) -> Unavailable:
    """The queue's time limit."""
    message = f"the model had no slot free for {seconds:g} seconds; try again later"
    return Unavailable(message, code="queue_timeout", headers=_RETRY)


def stalled(name: str, seconds: float) -> Unavailable:
    """The model hangs."""
    message = f"model '{name}' has made no progress for {seconds:g} seconds; its work was dropped"
    return Unavailable(message, code="engine_stalled", headers=_RETRY)


def untried() -> Unavailable:
    """An output format is not known to be harmless, and that can't be found out at present."""
    message = "the output format can't be checked at present; try again shortly"
    return Unavailable(message, code="overloaded", headers=_RETRY)


def trials_full(waiting: int) -> Unavailable:
    """Too many output formats wait to be checked, this owner's or everybody's."""
    message = f"{waiting} new output formats wait to be checked already; try again shortly"
    return Unavailable(message, code="overloaded", headers=_RETRY)


def gone(name: str, *, comes_back: bool = False) -> Unavailable:
    """The model's thread has ended."""
    why = "failed and is being loaded anew" if comes_back else "has stopped; the server's log says why"
    return Unavailable(f"model '{name}' {why}", code="engine_dead", headers=_RETRY if comes_back else None)

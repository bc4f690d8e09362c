"""The errors of engines that can't serve a request: why, and when to try again."""

from jan.errors import InternalError, InvalidRequest, Unavailable, retry_headers

#: Tokens of a prompt that are shown at most, as many as a request may name.
MOST_SHOWN = 2**20
_RETRY = retry_headers(5000)


def reason_of(error: BaseException) -> str:
    """Return a library's error text as one line without a full stop, so that it can end a sentence of ours."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def queue_full(limit: int) -> Unavailable:
    """Return the error for a queue without a free place."""
    message = f"The model has {limit} requests waiting, which is its limit. Try again shortly."
    return Unavailable(message, code="overloaded", headers=_RETRY)


def share_full(held: int, free: int) -> Unavailable:
    """Return the error for an owner who holds as many places as are left for others."""
    return Unavailable(
        f"You have {held} requests waiting for the model. The {free} places that are left are kept for others. "
        "Try again when some of yours have begun.",
        code="overloaded",
        headers=_RETRY,
    )


def too_many_sequences(count: int, limit: int) -> InvalidRequest:
    """Return the error for a request that does not even fit into an empty queue."""
    return InvalidRequest(
        f"This asks for {count} answers at once (prompts times n). "
        f"The model takes at most {limit} from one caller.",
        code="invalid_value",
        param="n",
    )


def waited_too_long(seconds: float) -> Unavailable:
    """Return the error for a request that waited until the queue's time limit."""
    message = (
        f"This request waited {seconds:g} seconds for a slot, the longest that this model allows. Try again later."
    )
    return Unavailable(message, code="queue_timeout", headers=_RETRY)


def stalled(name: str, seconds: float) -> Unavailable:
    """Return the error for the requests of a model that makes no progress."""
    message = f"Model '{name}' has made no progress for {seconds:g} seconds. Its requests were dropped."
    return Unavailable(message, code="engine_stalled", headers=_RETRY)


def cannot_be_tried() -> Unavailable:
    """Return the error for an output format that can't be tried at present."""
    message = "The output format can't be checked at present. Try again shortly."
    return Unavailable(message, code="overloaded", headers=_RETRY)


def trials_full(waiting: int) -> Unavailable:
    """Return the error for an output format while too many formats of all callers wait to be tried."""
    message = (
        f"The model has {waiting} new output formats to check already, which is its limit. Try again shortly."
    )
    return Unavailable(message, code="overloaded", headers=_RETRY)


def own_trials_full(waiting: int) -> Unavailable:
    """Return the error for an output format while too many formats of the same caller wait to be tried."""
    message = f"You have {waiting} new output formats to check already, which is the limit. Try again shortly."
    return Unavailable(message, code="overloaded", headers=_RETRY)


def model_failed(name: str, error: BaseException) -> InternalError:
    """Return the error for a request whose handling raised an unexpected exception, without its details."""
    return InternalError(f"Model '{name}' failed: {type(error).__name__}.")


def shows_no_tokens(name: str) -> InvalidRequest:
    """Return the error for a model whose tokens can't be shown."""
    return InvalidRequest(f"model: The tokens of model '{name}' can't be shown.", param="model")


def too_many_to_show(tokens: str) -> InvalidRequest:
    """Make the error for a text with too many tokens to show. ``tokens``: their number in words."""
    return InvalidRequest(f"The text has {tokens} tokens; allowed: {MOST_SHOWN}.", code="invalid_value")


def dropped(name: str) -> Unavailable:
    """Return the error for a prepared request that was dropped before it could be queued."""
    message = f"Model '{name}' failed or stalled, and this request was dropped. Try again shortly."
    return Unavailable(message, code="engine_dead", headers=_RETRY)


def model_stopped(name: str, *, restarting: bool = False) -> Unavailable:
    """Return the error for a model whose thread has ended. ``restarting``: it is being loaded again."""
    if restarting:
        message = f"Model '{name}' failed and is being loaded again."
        return Unavailable(message, code="engine_dead", headers=_RETRY)
    return Unavailable(f"Model '{name}' has stopped. The server's log says why.", code="engine_dead")

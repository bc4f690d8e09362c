"""Parts of requests that are read as an API has them elsewhere, with errors that name their place."""

from typing import Any

import msgspec

from handlers.openai.sampling import refused
from jan.schema.explain import explain
from jan.schema.open_body import convert_open


def converted(value: Any, expected: Any, place: str, *, within: str = "") -> Any:
    """Return a part of a request as the type ``expected``, without names that nobody knows.

    ``place``: its path in the request. ``within``: the beginning of a path in ``value`` that the request does not
    have. Raises InvalidRequest.
    """
    try:
        return convert_open(value, expected)
    except msgspec.ValidationError as error:
        why = explain(error, expected, value)
        path = why.path.removeprefix(within).removeprefix(".")
        raise refused(f"{place}.{path}" if path else place, why.message) from None

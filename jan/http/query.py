"""A URL's query parameters: decoded into a typed object, or refused in words."""

from collections.abc import Mapping
from typing import Any

import msgspec

from jan.errors import InvalidRequest
from jan.schema.explain import explain


def decode_query(arguments: Mapping[str, list[bytes]], expected: type[msgspec.Struct]) -> Any:
    """The parameters as an object of type ``expected``; raises InvalidRequest that names the wrong one. An
    unknown one is wrong if the type forbids unknown fields."""
    known = expected.__struct_encode_fields__
    values: dict[str, str] = {}
    for name, given in arguments.items():
        if name not in known:
            if not expected.__struct_config__.forbid_unknown_fields:
                continue
            raise _refusal(f"there is no query parameter '{name[:64]}'; allowed: {', '.join(known)}", name[:64])
        if len(given) > 1:
            raise _refusal(f"the query parameter '{name}' is given {len(given)} times", name)
        try:
            values[name] = given[0].decode()
        except UnicodeDecodeError:
            raise _refusal(f"the query parameter '{name}' is not valid UTF-8", name) from None
    try:
        return msgspec.convert(values, expected, strict=False)
    except msgspec.ValidationError as error:
        why = explain(error, expected)
        raise _refusal(f"query parameter {why.path}: {why.message}", why.path) from None


def _refusal(message: str, param: str) -> InvalidRequest:
    return InvalidRequest(message, code="invalid_value", param=param)

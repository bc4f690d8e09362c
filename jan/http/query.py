"""Decodes a URL's query parameters into a typed object."""

from collections.abc import Mapping
from typing import Any

import msgspec

from jan.errors import wrong_value
from jan.schema.explain import explain


def decode_query(arguments: Mapping[str, list[bytes]], expected: type[msgspec.Struct]) -> Any:
    """Decode the parameters as type ``expected``. Raises InvalidRequest that names the wrong parameter.

    Unknown parameters are wrong only if the type forbids unknown fields.
    """
    known = expected.__struct_encode_fields__
    values: dict[str, str] = {}
    for name, given in arguments.items():
        if name not in known:
            if not expected.__struct_config__.forbid_unknown_fields:
                continue
            raise wrong_value(f"Unknown query parameter '{name[:64]}'; allowed: {', '.join(known)}.", name[:64])
        if len(given) > 1:
            raise wrong_value(f"The query parameter '{name}' is given {len(given)} times; allowed: once.", name)
        try:
            values[name] = given[0].decode()
        except UnicodeDecodeError:
            raise wrong_value(f"The query parameter '{name}' is not valid UTF-8.", name) from None
    try:
        return msgspec.convert(values, expected, strict=False)
    except msgspec.ValidationError as error:
        why = explain(error, expected)
        raise wrong_value(f"{why.path}: {why.message}", why.path) from None

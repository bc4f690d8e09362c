"""Find every mistake in data of a configuration, where msgspec stops at the first."""

import re
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import msgspec

from jan.errors import ConfigurationError
from jan.schema.explain import Explanation, alternatives, explain
from jan.schema.suggest import did_you_mean
from jan.settings.names import decode_name

_NO_TEXT = re.compile(r"Expected `str[^`]*`, got `(int|float|bool)`")


def find_mistakes(value: Any, kind: Any, path: str = "") -> Iterator[Explanation]:
    """Yield the mistakes in a value that should be of a type, each with its path. There is none if it converts.

    Each field and each item of a list is looked at alone, so that one mistake hides no other.
    """
    for one in alternatives(kind):
        if isinstance(value, dict) and isinstance(one, type) and issubclass(one, msgspec.Struct):
            yield from _in_struct(value, one, path)
            return
        if isinstance(value, list) and get_origin(one) in (tuple, list) and ... in (*get_args(one), ...):
            found = [
                m for i, item in enumerate(value) for m in find_mistakes(item, get_args(one)[0], f"{path}[{i}]")
            ]
            if found:
                yield from found
                return
    if (mistake := _first_mistake(value, kind)) is not None:
        yield _with_hints(mistake, value, kind, path)


def convert_options(options: dict[str, Any], kind: Any) -> Any:
    """Return options as a type of theirs. Raises ConfigurationError, with a line for each mistake."""
    try:
        return msgspec.convert(options, kind, strict=False)
    except msgspec.ValidationError as error:
        places = (
            f"options{'.' * bool(one.path)}{one.path}: {one.message}" for one in find_mistakes(options, kind)
        )
        raise ConfigurationError("\n".join(places)) from error


def _in_struct(value: dict[str, Any], kind: type[msgspec.Struct], path: str) -> Iterator[Explanation]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    good = {key: item for key, item in value.items() if key in fields}
    for key in value if kind.__struct_config__.forbid_unknown_fields else ():
        if key not in fields:
            allowed = f"Unknown key '{key}'; allowed: {', '.join(fields)}"
            yield Explanation(f"{allowed}.{did_you_mean(key, fields)}", _join(path, key))
    incomplete = False
    for name, field in fields.items():
        if name not in value:
            if field.required:
                incomplete = True
                yield Explanation(f"The key '{name}' is required.", _join(path, name))
            continue
        found = list(find_mistakes(value[name], field.type, _join(path, name)))
        yield from found
        if found:
            del good[name]
            incomplete = incomplete or field.required
    if not incomplete:
        yield from _in_rules(good, kind, path, whole=len(good) == len(value))


def _in_rules(
    good: dict[str, Any], kind: type[msgspec.Struct], path: str, *, whole: bool
) -> Iterator[Explanation]:
    """Yield what the checks of a whole struct refuse. Each refuses one field; the others go on without it."""
    while (mistake := _first_mistake(good, kind)) is not None:
        if mistake.path in good or whole:
            yield Explanation(mistake.message, _join(path, mistake.path))
        if mistake.path not in good:
            return
        del good[mistake.path]
        whole = False


def _first_mistake(value: Any, kind: Any) -> Explanation | None:
    try:
        msgspec.convert(value, kind, strict=False, dec_hook=decode_name)
    except msgspec.ValidationError as error:
        return explain(error, kind)
    return None


def _with_hints(mistake: Explanation, value: Any, kind: Any, path: str) -> Explanation:
    message = mistake.message
    choices = [choice for one in alternatives(kind) if get_origin(one) is Literal for choice in get_args(one)]
    if choices and isinstance(value, str):
        message = f"{message.removesuffix('.')}.{did_you_mean(value, choices)}"
    if _NO_TEXT.match(message):
        message += " Put quotes around a text."
    return Explanation(message, _join(path, mistake.path))


def _join(path: str, rest: str) -> str:
    return path + (rest if rest.startswith("[") or not path or not rest else f".{rest}")

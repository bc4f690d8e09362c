"""Turns msgspec's validation errors into words that name the place and what is allowed there."""

import re
import types
import typing
from typing import Any, get_args, get_origin

import msgspec
from msgspec import inspect as mi

_AT = re.compile(r"^(?P<what>.*?)(?P<key> - at `key` in)?(?: - at)?(?: `(?P<path>\$[^`]*)`)?$", re.DOTALL)
_FIELD = re.compile(r"Object (?P<problem>contains unknown|missing required) field `(?P<name>[^`]*)`")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")


class Explanation(msgspec.Struct, frozen=True):
    """``message`` for a person; ``path`` like ``messages[0].role`` ('' is the whole document)."""

    message: str
    path: str


def explain(error: msgspec.ValidationError, expected: Any) -> Explanation:
    """Say where the document departs from type ``expected`` and what would be right there."""
    match = _AT.match(str(error))
    assert match is not None  # the pattern matches every string
    what, path = match["what"], (match["path"] or "").removeprefix("$").lstrip(".")
    where = _at(expected, path)
    if field := _FIELD.match(what):
        name = field["name"]
        if field["problem"] == "missing required":
            return Explanation(f"'{name}' is required", _join(path, name))
        return Explanation(f"unknown key '{name}'{_allowed(_field_names(where))}", _join(path, name))
    if match["key"]:
        what = f"key: {what}"
    if what.startswith("Invalid"):
        return Explanation(_lower(what) + _allowed(_choices(where, path)), path)
    return Explanation(_lower(what), path)


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _allowed(names: list[str]) -> str:
    return f"; allowed: {', '.join(dict.fromkeys(names))}" if names else ""


def _alternatives(expected: Any) -> list[Any]:
    """The members of a union, with ``Annotated`` taken off; a list of one for anything else."""
    if get_origin(expected) is typing.Annotated:
        return _alternatives(get_args(expected)[0])
    if get_origin(expected) in (typing.Union, types.UnionType):
        return [inner for member in get_args(expected) for inner in _alternatives(member)]
    return [expected]


def _at(expected: Any, path: str) -> list[Any]:
    """The types that may stand at ``path`` inside a document of type ``expected``."""
    current = _alternatives(expected)
    for key, index in _STEP.findall("." + path if path and path[0] != "[" else path):
        current = [inner for member in current for inner in _step(member, key, bool(index))]
    return current


def _step(member: Any, key: str, is_index: bool) -> list[Any]:
    # tuple[X, ...] has its element first, list[X] and dict[K, X] last.
    arguments = [argument for argument in get_args(member) if argument is not ...]
    if is_index or (key == "..." and arguments):
        return _alternatives(arguments[-1]) if arguments else []
    if isinstance(member, type) and issubclass(member, msgspec.Struct):
        found = {f.encode_name: f.type for f in msgspec.structs.fields(member)}.get(key)
        return _alternatives(found) if found is not None else [member]
    return _alternatives(arguments[-1]) if get_origin(member) is dict else []


def _structs(members: list[Any]) -> list[type[msgspec.Struct]]:
    return [m for m in members if isinstance(m, type) and issubclass(m, msgspec.Struct)]


def _field_names(members: list[Any]) -> list[str]:
    return [f.encode_name for m in _structs(members) for f in msgspec.structs.fields(m)]


def _choices(members: list[Any], path: str) -> list[str]:
    """Values of the literals at a place; of the union's tags where the place is a tag field."""
    literals = [repr(value) for m in members if get_origin(m) is typing.Literal for value in get_args(m)]
    if literals:
        return literals
    tag_field = path.rpartition(".")[2]
    infos = [mi.type_info(m) for m in _structs(members)]
    return [repr(i.tag) for i in infos if isinstance(i, mi.StructType) and i.tag_field == tag_field]

"""Turns msgspec's validation errors into sentences that name the place and what is allowed there."""

import re
import types
import typing
from types import MappingProxyType
from typing import Any, get_args, get_origin

import msgspec
from msgspec import inspect as mi

from jan.schema.email_address import EMAIL_SENTENCES
from jan.schema.output_formats import NAME_PATTERN
from jan.schema.plain_text import SENTENCES

_AT = re.compile(r"^(?P<what>.*?)(?P<key> - at `key` in)?(?: - at)?(?: `(?P<path>\$[^`]*)`)?$", re.DOTALL)
_FIELD = re.compile(r"Object (?P<problem>contains unknown|missing required) field `(?P<name>[^`]*)`")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
# What is said of a text that does not match, by regular expression.
_NAME = "Not a name; allowed: 1 to 64 letters, digits, _ and -."
_SENTENCES = MappingProxyType({**SENTENCES, **EMAIL_SENTENCES, NAME_PATTERN: _NAME})


class Explanation(msgspec.Struct, frozen=True):
    """An error for a person. ``path`` is like ``messages[0].role``; '' is the whole document."""

    message: str
    path: str


def explain(error: msgspec.ValidationError, expected: Any, document: Any = None) -> Explanation:
    """Say where a document departs from type ``expected``, and what is allowed there.

    With the ``document``, decoded without a type, only what its tags leave is listed as allowed.
    """
    match = _AT.match(str(error))
    assert match is not None  # the pattern matches every string
    what, path = match["what"], (match["path"] or "").removeprefix("$").lstrip(".")
    where = _at(expected, path, document)
    if field := _FIELD.match(what):
        name = field["name"]
        if field["problem"] == "missing required":
            return Explanation(f"The key '{name}' is required.", _join(path, name))
        return Explanation(f"Unknown key '{name}'{_allowed(_field_names(where))}.", _join(path, name))
    if match["key"]:
        what = f"Wrong key: {what[:1].lower()}{what[1:]}"
    what = next(
        (said for pattern, said in _SENTENCES.items() if what.endswith(f"matching regex {pattern!r}")), what
    )
    if what.startswith("Invalid"):
        what += _allowed(_choices(where, path))
    return _of_one_field(what if what.endswith(".") else f"{what}.", path, where)


def wrong_key(document: Any, path: str, expected: Any) -> str:
    """Return the key of a wrong value in a mapping of a document; '' if ``path`` is not like "field[...]"."""
    name = path.removesuffix("[...]")
    if name == path:
        return ""
    mapping = document.get(name) if isinstance(document, dict) else None
    kinds = [kind for kind in _at(expected, name) if get_origin(kind) is dict]
    for key, value in mapping.items() if isinstance(mapping, dict) and kinds else ():
        try:
            msgspec.convert({key: value}, kinds[0])
        except msgspec.ValidationError:
            return str(key)
    return ""


def _of_one_field(message: str, path: str, where: list[Any]) -> Explanation:
    """Move the name of a field from the beginning of a message to its path.

    The checks of a struct as a whole name the field that is wrong like this: "field: Sentence."
    """
    name, colon, rest = message.partition(": ")
    if colon and name in _field_names(where):
        return Explanation(rest, _join(path, name))
    return Explanation(message, path)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _allowed(names: list[str]) -> str:
    return f"; allowed: {', '.join(dict.fromkeys(names))}" if names else ""


def alternatives(expected: Any) -> list[Any]:
    """List the members of a union, without ``Annotated``. Any other type is a list of one."""
    if get_origin(expected) is typing.Annotated:
        return alternatives(get_args(expected)[0])
    if get_origin(expected) in (typing.Union, types.UnionType):
        return [inner for member in get_args(expected) for inner in alternatives(member)]
    return [expected]


def _at(expected: Any, path: str, document: Any = None) -> list[Any]:
    """Return the types that may stand at ``path`` inside a document of type ``expected``."""
    current, value = _tagged(alternatives(expected), document), document
    for key, index in _STEP.findall("." + path if path and path[0] != "[" else path):
        value = _inner(value, key, index)
        current = _tagged([inner for member in current for inner in _step(member, key, bool(index))], value)
    return current


def _inner(value: Any, key: str, index: str) -> Any:
    """Return the value at a step into a document; None if there is none."""
    if isinstance(value, dict):
        return value.get(key)
    if isinstance(value, list) and index.isdecimal() and int(index) < len(value):
        return value[int(index)]
    return None


def _tagged(members: list[Any], value: Any) -> list[Any]:
    """Return the members of a union that a value's tag leaves: all of them if it has no tag, or an unknown one."""
    if not isinstance(value, dict):
        return members
    infos = [(member, mi.type_info(member)) for member in _structs(members)]
    left = [
        member
        for member, info in infos
        if isinstance(info, mi.StructType) and info.tag_field and value.get(info.tag_field) == info.tag
    ]
    return left or members


def _step(member: Any, key: str, is_index: bool) -> list[Any]:
    # In tuple[X, ...] the element comes first, in list[X] and dict[K, X] last.
    arguments = [argument for argument in get_args(member) if argument is not ...]
    if is_index or (key == "..." and arguments):
        return alternatives(arguments[-1]) if arguments else []
    if isinstance(member, type) and issubclass(member, msgspec.Struct):
        found = {f.encode_name: f.type for f in msgspec.structs.fields(member)}.get(key)
        return alternatives(found) if found is not None else [member]
    return alternatives(arguments[-1]) if get_origin(member) is dict else []


def _structs(members: list[Any]) -> list[type[msgspec.Struct]]:
    return [m for m in members if isinstance(m, type) and issubclass(m, msgspec.Struct)]


def _field_names(members: list[Any]) -> list[str]:
    return [f.encode_name for m in _structs(members) for f in msgspec.structs.fields(m)]


def _choices(members: list[Any], path: str) -> list[str]:
    """Return the values of the literals at a place, or of the union's tags if the place is a tag field."""
    literals = [repr(value) for m in members if get_origin(m) is typing.Literal for value in get_args(m)]
    if literals:
        return literals
    tag_field = path.rpartition(".")[2]
    infos = [mi.type_info(m) for m in _structs(members)]
    return [repr(i.tag) for i in infos if isinstance(i, mi.StructType) and i.tag_field == tag_field]

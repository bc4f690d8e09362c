"""Bodies that clients of other servers send: unknown names are left out and reported, known ones never are.

Decoding such a body is strict, so a body without unknown names costs nothing extra. Only if the strict decoder
meets an unknown name is the body taken apart here.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, ClassVar
from urllib.parse import quote

import msgspec
from msgspec import inspect as mi

from jan.errors import InvalidRequest

#: Most names that a response's header reports.
MOST_NAMES = 20
# Longest name in the header, in characters after quoting.
_LONGEST_NAME = 100
# Characters of a path that need no quoting in a header. A comma separates names.
_PLAIN = "[]$@:/!*+"


class Unserved(msgspec.Struct, frozen=True, kw_only=True):
    """A parameter that another server knows and this one does not serve.

    ``whose``: the servers that know it. ``reason``: why it is not served, as a sentence. ``neutral``: values that
    ask for nothing else than what happens anyway; null and empty values always are.
    """

    whose: str
    reason: str
    neutral: tuple[Any, ...] = ()

    def allows(self, value: Any) -> bool:
        """Return True if a value asks for nothing that this server does not do anyway."""
        if value is None or (isinstance(value, str | list | dict) and not value):
            return True
        # In Python, True equals 1.
        return any(value == known and isinstance(value, bool) == isinstance(known, bool) for known in self.neutral)


class OpenStruct(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Base of the objects in bodies that other servers take too.

    The decoder refuses unknown names of these objects, and ``without_unknown`` leaves them out. So in the end such
    an object may have any names. ``unserved``: names that other servers know and this one refuses.
    ``shown_as_sent``: a model gets all of the object, so its unknown names are not reported.
    ``aliases``: other servers' names of fields, each with the field's own.
    """

    unserved: ClassVar[Mapping[str, Unserved]] = MappingProxyType({})
    shown_as_sent: ClassVar[bool] = False
    aliases: ClassVar[Mapping[str, str]] = MappingProxyType({})

    def keep_sent(self, body: bytes | bytearray) -> None:
        """Keep what is needed of the JSON that this was decoded from; nothing by default."""


def has_unknown(error: msgspec.ValidationError) -> bool:
    """Return True if a decoder stopped at a name that the type does not have."""
    return str(error).startswith("Object contains unknown field")


def without_unknown(value: Any, expected: Any) -> tuple[Any, tuple[str, ...]]:
    """Leave unknown names out of a JSON value, wherever ``expected`` has an ``OpenStruct``.

    Args:
        value: the decoded value, or its JSON as ``msgspec.Raw``, of which only the necessary part is decoded.
        expected: the type that the value is meant for.

    Returns:
        The value without them, and their paths, such as ``messages[0].cache_control``: the first 20.

    Raises:
        InvalidRequest: for a name that another server knows and this one does not serve.
    """
    found: list[str] = []
    stripped = _strip(value, _members(_type_of(expected)), "", found)
    return stripped, tuple(found[:MOST_NAMES])


def header_value(names: Sequence[str]) -> str:
    """Return a header's value that lists names: at most 20, printable ASCII, other characters percent-encoded."""
    unique = list(dict.fromkeys(names))[:MOST_NAMES]
    return ", ".join(quote(name, safe=_PLAIN, errors="replace")[:_LONGEST_NAME] for name in unique)


@lru_cache(256)
def _type_of(expected: Any) -> mi.Type:
    return mi.type_info(expected)


def _members(kind: mi.Type) -> tuple[mi.Type, ...]:
    """Return the members of a union, without metadata. Any other type is a tuple of one."""
    if isinstance(kind, mi.Metadata):
        return _members(kind.type)
    if isinstance(kind, mi.UnionType):
        return tuple(inner for member in kind.types for inner in _members(member))
    return (kind,)


def _strip(value: Any, kinds: tuple[mi.Type, ...], path: str, found: list[str]) -> Any:
    structs = [kind for kind in kinds if isinstance(kind, mi.StructType)]
    items = [member for kind in kinds if isinstance(kind, mi.ListType) for member in _members(kind.item_type)]
    if structs and (fields := _opened(value, dict)) is not None:
        struct = _struct_of(fields, structs)
        return value if struct is None else _strip_struct(fields, struct, path, found)
    nested = any(isinstance(item, mi.StructType | mi.ListType) for item in items)
    if nested and (elements := _opened(value, list)) is not None:
        return [_strip(one, tuple(items), f"{path}[{at}]", found) for at, one in enumerate(elements)]
    return value


def _opened(value: Any, kind: type[dict[str, Any]] | type[list[Any]]) -> Any:
    """Return an object's or an array's members; None if the value is something else."""
    if isinstance(value, msgspec.Raw):
        opening = b"{" if kind is dict else b"["
        if not bytes(value).startswith(opening):
            return None
        return msgspec.json.decode(value, type=dict[str, msgspec.Raw] if kind is dict else list[msgspec.Raw])
    return value if isinstance(value, kind) else None


def _plain(value: Any) -> Any:
    """Return a value decoded; itself if it can't be, such as a number that no float holds."""
    try:
        return msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else value
    except msgspec.DecodeError:
        return value


def _struct_of(fields: dict[str, Any], structs: list[mi.StructType]) -> mi.StructType | None:
    """Return the struct that an object would be decoded to, None if there is none."""
    for struct in structs:
        if struct.tag_field is None or len(structs) == 1 or _plain(fields.get(struct.tag_field)) == struct.tag:
            return struct
    return None


def _strip_struct(fields: dict[str, Any], struct: mi.StructType, path: str, found: list[str]) -> dict[str, Any]:
    known = {field.encode_name: field.type for field in struct.fields}
    kind = struct.cls if issubclass(struct.cls, OpenStruct) else None
    shown = kind is not None and kind.shown_as_sent
    kept: dict[str, Any] = {}
    for given, inner in fields.items():
        where = f"{path}.{given}" if path else given
        name = given if kind is None or given in known else kind.aliases.get(given, given)
        if name in known:
            _check_single(given, name, inner, fields, where)
            kept[name] = _strip(inner, _members(known[name]), where, found)
        elif given == struct.tag_field or kind is None:
            kept[given] = inner
        elif name not in kind.unserved:
            found += [] if shown else [where]
        elif not kind.unserved[name].allows(_plain(inner)):
            reason = kind.unserved[name].reason
            raise InvalidRequest(f"{where}: {reason}", code="unsupported_parameter", param=where)
    return kept


def _check_single(given: str, name: str, value: Any, fields: dict[str, Any], where: str) -> None:
    """Refuse a parameter that comes by two names with two values. Raises InvalidRequest."""
    if given != name and name in fields and _plain(fields[name]) != _plain(value):
        raise InvalidRequest(
            f"{where}: It is another name of {name}, which has another value.", code="invalid_value", param=where
        )


def convert_open(value: Any, expected: Any) -> Any:
    """Convert a value as ``msgspec.convert`` does, without the unknown names of objects that may have any."""
    try:
        return msgspec.convert(value, expected)
    except msgspec.ValidationError as error:
        if not has_unknown(error):
            raise
        return msgspec.convert(without_unknown(value, expected)[0], expected)

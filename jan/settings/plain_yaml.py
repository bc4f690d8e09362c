"""Read YAML 1.1 as plain data: mappings with unique text keys, lists, texts, numbers, booleans and nulls.

What YAML would read as something that its author hardly means is refused: a key that is given twice (YAML 1.2.2,
3.2.1.3), ``010`` as the octal 8, ``1:30`` as the sexagesimal 90, tags other than those of plain data, and aliases
that grow without bound. libyaml parses, where PyYAML has it: that is several times as fast.
"""

import re
from typing import Any

import yaml
from yaml.constructor import SafeConstructor

from jan.errors import ConfigurationError

_TAG = "tag:yaml.org,2002:"
# Values of one document. Ten aliases of ten aliases and so on are millions, from a file of a few lines.
_MOST_VALUES = 100_000
_LONGEST_NUMBER = 100
_AMBIGUOUS = re.compile(r"[-+]?(0[0-7_]+|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?)")


class PlacedKey(str):
    """A key of a mapping. ``place``: where it is written, as ``file:line``, or the name of a variable."""

    place: str = ""

    @classmethod
    def at(cls, place: str, text: str) -> "PlacedKey":
        """Make a key that was written at a place."""
        key = cls(text)
        key.place = place
        return key


def parse_yaml(text: str, source: str, *, lines: bool = True) -> Any:
    """Read one document; keys are PlacedKeys. An empty document is None.

    ``source`` names the text in places and errors, with line numbers where ``lines`` is true. Raises
    ConfigurationError; its message is one line.
    """
    return _Reader(source, lines).read(text)


class _Reader:
    """Builds the data of one document, and names places in it."""

    def __init__(self, source: str, lines: bool) -> None:
        self._source = source
        self._lines = lines
        self._scalars = SafeConstructor()
        self._count = 0
        self._open: set[int] = set()

    def read(self, text: str) -> Any:
        try:
            node = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position)
            code = f"U+{error.character:04X}" if isinstance(error.character, int) else "a control character"
            raise self._error(line, f"The character {code} is not allowed in YAML.") from None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            raise self._error(mark.line if mark else None, f"It is not valid YAML: {_problem(error)}.") from None
        except RecursionError:
            raise self._error(None, "It is nested too deeply.") from None
        return None if node is None else self._value(node)

    def _error(self, line: int | None, message: str) -> ConfigurationError:
        place = f"{self._source}:{line + 1}" if self._lines and line is not None else self._source
        return ConfigurationError(f"{place}: {message}")

    def _wrong(self, node: yaml.Node, message: str) -> ConfigurationError:
        return self._error(node.start_mark.line, message)

    def _place(self, node: yaml.Node) -> str:
        return f"{self._source}:{node.start_mark.line + 1}" if self._lines else self._source

    def _value(self, node: yaml.Node) -> Any:
        self._count += 1
        if self._count > _MOST_VALUES:
            raise self._wrong(node, f"With its aliases it has more than {_MOST_VALUES} values.")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if node.tag != _TAG + ("map" if isinstance(node, yaml.MappingNode) else "seq"):
            raise self._wrong(node, f"{_tag(node)} is not plain data; allowed: no tag.")
        if id(node) in self._open:
            raise self._wrong(node, "An anchor contains its own alias.")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node)
            return [self._value(item) for item in node.value]
        except RecursionError:
            raise self._wrong(node, "It is nested too deeply.") from None
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Any]:
        """Build a mapping: its own keys, and those of the mappings that it merges with ``<<`` (YAML 1.1)."""
        first: dict[str, yaml.Node] = {}
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node)
            if key in first:
                raise self._twice(key, first[key], key_node)
            first[key] = key_node
            if key_node.tag == f"{_TAG}merge":
                merged = self._merged(value_node)
            else:
                own[key] = self._value(value_node)
        return {**{key: value for key, value in merged.items() if key not in own}, **own}

    def _key(self, node: yaml.Node) -> PlacedKey:
        # A key is what is written: `on` and `1` are texts here, though YAML reads them as true and a number.
        if not isinstance(node, yaml.ScalarNode) or not node.value:
            raise self._wrong(node, "A key must be a text.")
        if node.tag.removeprefix(_TAG) not in (*_KINDS, "timestamp", "value", "merge"):
            raise self._wrong(node, f"{_tag(node)} is not plain data; allowed: no tag.")
        return PlacedKey.at(self._place(node), node.value)

    def _twice(self, key: str, first: yaml.Node, second: yaml.Node) -> ConfigurationError:
        one, two = first.start_mark, second.start_mark
        before = f"line {one.line + 1}, column {one.column + 1}" if self._lines else f"column {one.column + 1}"
        return self._wrong(
            second, f"The key '{key}' in column {two.column + 1} was given before, in {before}; allowed: once."
        )

    def _merged(self, node: yaml.Node) -> dict[str, Any]:
        """Build what ``<<`` merges: a mapping, or several, of which the first that has a key counts."""
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for one in nodes:
            if not isinstance(one, yaml.MappingNode):
                raise self._wrong(one, "What '<<' merges must be a mapping, or a list of mappings.")
            merged = {**self._value(one), **merged}
        return merged

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        text, kind = node.value, node.tag.removeprefix(_TAG)
        if kind in ("timestamp", "value", "merge"):
            return text
        if kind not in _KINDS:
            raise self._wrong(node, f"{_tag(node)} is not plain data; allowed: no tag.")
        if kind in ("int", "float") and _AMBIGUOUS.fullmatch(text) and text.strip("+-0_"):
            raise self._wrong(
                node,
                f"YAML reads {text} as the number {self._read(kind, node)}. Write that number, or put quotes "
                "around a text.",
            )
        if kind == "str":
            return text
        return None if kind == "null" else self._read(kind, node)

    def _read(self, kind: str, node: yaml.ScalarNode) -> Any:
        # PyYAML reads numbers of any length: Python then can't write them, and floats overflow.
        if kind in ("int", "float") and len(node.value) > _LONGEST_NUMBER:
            allowed = f"allowed: at most {_LONGEST_NUMBER} characters"
            raise self._wrong(node, f"It can't be read as a value of the type {kind}; {allowed}.")
        try:
            return getattr(self._scalars, f"construct_yaml_{kind}")(node)
        except (ValueError, LookupError):  # a lookup fails for a number without digits
            raise self._wrong(node, f"It can't be read as a value of the type {kind}.") from None


_KINDS = ("str", "int", "float", "bool", "null")


def _tag(node: yaml.Node) -> str:
    return f"The tag '{node.tag.replace(_TAG, '!!')}'"


def _problem(error: yaml.MarkedYAMLError) -> str:
    if "another document" in str(error.problem):
        return "a second document begins here; allowed: one"
    text = " ".join(str(error.problem or error.context).split())
    return f"{text} (tabs are not allowed here)" if "cannot start any token" in text else text

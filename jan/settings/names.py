"""Classes by dotted name, as a configuration file gives them."""

from pathlib import Path
from types import MappingProxyType
from typing import Any

# As msgspec's own messages call them.
_JSON_NAMES = MappingProxyType({dict: "object", list: "array", int: "int", float: "float", bool: "bool"})


class DottedName(str):
    """A class by its dotted name, or a word of ours such as the name of an engine.

    ``file``: the configuration file that has it, None if no file does. ``target``: the class itself, where code
    made the name.
    """

    file: Path | None = None
    target: Any = None

    @classmethod
    def of(cls, target: type) -> "DottedName":
        """Name a class at hand, which need not be importable."""
        name = cls(f"{target.__module__}.{target.__qualname__}")
        name.target = target
        return name

    @classmethod
    def written_in(cls, file: Path, text: str) -> "DottedName":
        """Name a class as a file does."""
        name = cls(text)
        name.file = file
        return name


def mark_names(tree: dict[str, Any], file: Path) -> None:
    """Turn the texts of a file's mapping that name classes into DottedNames; what is no text stays as it is."""
    for section, key in (("routes", "handler"), ("models", "engine")):
        items = tree.get(section)
        for item in items if isinstance(items, list) else ():
            if isinstance(item, dict) and isinstance(item.get(key), str):
                item[key] = DottedName.written_in(file, item[key])
    hooks = tree.get("hooks")
    if isinstance(hooks, list):
        tree["hooks"] = [DottedName.written_in(file, hook) if isinstance(hook, str) else hook for hook in hooks]


def decode_name(kind: type, value: Any) -> Any:
    """Read a DottedName for msgspec; one that no file has comes from the environment."""
    if kind is not DottedName:
        raise NotImplementedError(f"Settings have no values of {kind}.")
    if not isinstance(value, str):
        raise TypeError(f"Expected `str`, got `{_JSON_NAMES.get(type(value), 'null')}`")
    return value if isinstance(value, DottedName) else DottedName(value)

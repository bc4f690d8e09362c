"""Classes by dotted name, as a configuration file gives them."""

from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

from jan.schema.suggest import did_you_mean

#: The names of our own engines.
ENGINES = ("echo", "llamacpp", "exllamav2", "exllamav3")
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


def reason_of_unknown(engine: str) -> str | None:
    """Return what is wrong with the name of an engine: it is neither ours nor dotted. None if nothing is."""
    if engine in ENGINES or "." in engine:
        return None
    allowed = f"{', '.join(ENGINES)}, or module.Class"
    return f"Unknown engine '{engine}'; allowed: {allowed}.{did_you_mean(engine, ENGINES)}"


def unknown_engines(tree: dict[str, Any]) -> Iterator[str]:
    """Yield a mistake for each model of a file's mapping whose engine has an unknown name."""
    models = tree.get("models")
    for index, model in enumerate(models if isinstance(models, list) else ()):
        engine = model.get("engine") if isinstance(model, dict) else None
        if isinstance(engine, str) and (reason := reason_of_unknown(engine)) is not None:
            yield f"models[{index}].engine: {reason}"


def decode_name(kind: type, value: Any) -> Any:
    """Read a DottedName for msgspec; one that no file has comes from the environment."""
    if kind is not DottedName:
        raise NotImplementedError(f"Settings have no values of {kind}.")
    if not isinstance(value, str):
        raise TypeError(f"Expected `str`, got `{_JSON_NAMES.get(type(value), 'null')}`")
    return value if isinstance(value, DottedName) else DottedName(value)

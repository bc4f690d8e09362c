"""Classes by dotted name, as a configuration file gives them."""

from typing import Any


class DottedName(str):
    """A class by its dotted name. ``target``: the class itself, where code made the name and no file did."""

    target: Any = None

    @classmethod
    def of(cls, target: type) -> "DottedName":
        """Name a class at hand, which need not be importable."""
        name = cls(f"{target.__module__}.{target.__qualname__}")
        name.target = target
        return name

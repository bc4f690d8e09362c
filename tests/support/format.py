"""Output formats of a few hundred bytes that the compiler does not come to an end with."""

from typing import Any


def all_of(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"allOf": list(parts)}


HOSTILE_SCHEMAS: dict[str, dict[str, Any]] = {
    "20 patterns": all_of(*({"type": "string", "pattern": f"a{n}|b"} for n in range(20))),
    "24 patterns": all_of(*({"type": "string", "pattern": f"a{n}|b"} for n in range(24))),
    "14 texts in any order": all_of(*({"type": "string", "pattern": f".*x{n}.*"} for n in range(14))),
    "3 multiples": all_of(*({"multipleOf": n} for n in (101, 103, 107))),
    "4 multiples": all_of(*({"multipleOf": n} for n in (101, 103, 107, 109))),
}


def another(name: str, number: int) -> dict[str, Any]:
    """The same to the compiler, and not known yet."""
    return {**HOSTILE_SCHEMAS[name], "title": str(number)}

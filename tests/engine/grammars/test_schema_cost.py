"""Schemas that would block the engine's thread are recognised before they are compiled."""

import pytest

from jan.engine.grammars.schema_cost import schema_too_costly


@pytest.mark.parametrize(
    "schema",
    [
        {"enum": [f"v{number}" for number in range(2001)]},
        {"anyOf": [{"enum": list(range(700))}, {"items": {"enum": list(range(700))}}, {"enum": list(range(700))}]},
    ],
)
def test_huge_enums_are_refused(schema: object) -> None:
    """Values count over the whole schema: 40,000 values took seconds."""
    assert "enums" in schema_too_costly(schema)


@pytest.mark.parametrize("schema", [{"enum": list(range(2000))}, {"properties": {"enum": {"type": "string"}}}])
def test_others_pass(schema: object) -> None:
    """The largest allowed number of values passes, and so does a property named enum."""
    assert schema_too_costly(schema) == ""

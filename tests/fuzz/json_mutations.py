"""Changes of JSON that keep it JSON, so that a fuzzer gets beyond the decoder."""

import json
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 0.5, 1e308, -(2**31), 2**31, 2**53, 2**63 - 1, 2**64),
    *(
        "",
        "a",
        " ",
        "0",
        "true",
        "\u0000",
        "ä\U0001f600",
        "a" * 300,
        "\ud800",
        "{}",
        '{"a": 1}',
        "[1",
        "^(a|b)*$",
        "(",
        "\\d{1,9}",
    ),
    *([], {}, [[]], [{}], {"": {}}, [None], {"a": None}, [1, 2], ["a", "a"], {"$ref": "#"}, {"type": "object"}),
    *(
        {"enum": []},
        {"anyOf": [{}, {}]},
        {"pattern": "("},
        {"$defs": {"a": {"$ref": "#/$defs/a"}}},
        {"items": [1]},
    ),
)
_MOST_CHANGES = 3


def mutated(text: bytes, names: Sequence[str], seed: int) -> bytes | None:
    """Return JSON with one to three changes: values replaced, moved, added under one of ``names``, or left out.

    None if the text is no JSON.
    """
    try:
        root = [json.loads(text)]
    except (ValueError, RecursionError):
        return None
    random = Random(seed)
    for _ in range(random.randint(1, _MOST_CHANGES)):
        places = list(_places(root))
        _change(*random.choice(places), places, names, random)
    return json.dumps(root[0]).encode()


def _change(container: Any, key: Any, places: list[tuple[Any, Any]], names: Sequence[str], random: Random) -> None:
    other, where = random.choice(places)
    value = _copied(random.choice((random.choice(_VALUES), random.choice(names), other[where])))
    inner = container[key]
    kind = random.randrange(4)
    if kind == 0 and isinstance(inner, dict):
        inner[random.choice(names)] = value
    elif kind == 0 and isinstance(inner, list):
        inner.insert(random.randint(0, len(inner)), value)
    elif kind == 1 and isinstance(inner, dict | list) and inner:
        del inner[random.choice(list(inner) if isinstance(inner, dict) else range(len(inner)))]
    else:
        container[key] = value


def _copied(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place of a list or an object, and of those in it."""
    waiting = [value]
    while waiting:
        container = waiting.pop()
        for key, inner in container.items() if isinstance(container, dict) else enumerate(container):
            yield container, key
            if isinstance(inner, dict | list):
                waiting.append(inner)

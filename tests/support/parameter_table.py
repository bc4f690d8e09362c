"""The tables of docs/parameters.md, made from the schema. Run this file to write them anew."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import inspect as mi

from jan.engine.backends.lacking import ECHO, EXLLAMAV2, EXLLAMAV3
from jan.schema.chat import ChatCompletionRequest
from jan.schema.completions import CompletionRequest
from jan.schema.open_body import OpenStruct, Unserved
from jan.schema.output_formats import StructuredOutputs
from jan.schema.sampling import StreamOptions
from support.server import ROOT

PAGE = ROOT / "docs" / "parameters.md"
SERVED, REFUSED = "## Parameters that are served", "## Parameters that are refused"
_BODIES: tuple[tuple[str, type[OpenStruct]], ...] = (("chat", ChatCompletionRequest), ("text", CompletionRequest))
_NESTED: tuple[tuple[str, type[OpenStruct]], ...] = (
    ("stream_options", StreamOptions),
    ("structured_outputs", StructuredOutputs),
)
_ENGINES = (("ExLlamaV2", EXLLAMAV2), ("ExLlamaV3", EXLLAMAV3), ("echo", ECHO))


def _metas(kind: mi.Type) -> Iterator[mi.Metadata]:
    if isinstance(kind, mi.Metadata):
        yield kind
        yield from _metas(kind.type)
    elif isinstance(kind, mi.UnionType):
        for member in kind.types:
            yield from _metas(member)


def _described(kind: mi.Type) -> tuple[str, str]:
    """The description of a field, and the servers that know it."""
    metas = list(_metas(kind))
    texts = [(meta.extra_json_schema or {}).get("description") for meta in metas]
    servers = [(meta.extra or {}).get("of") for meta in metas]
    return next(filter(None, texts), ""), next(filter(None, servers), "OpenAI")


def _fields(kind: type[OpenStruct]) -> dict[str, tuple[str, str]]:
    info = mi.type_info(kind)
    assert isinstance(info, mi.StructType)
    return {field.encode_name: _described(field.type) for field in info.fields}


def _engines(name: str) -> str:
    """The engines that lack a parameter, each with the reason."""
    lacking = [f"not {engine}: {known[name].reason}" for engine, known in _ENGINES if name in known]
    return " ".join(lacking) or "all"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def served_rows() -> list[list[str]]:
    """One row for each parameter: name, other names, servers, endpoints, meaning, engines."""
    where: dict[str, list[str]] = defaultdict(list)
    found: dict[str, tuple[str, str]] = {}
    others: dict[str, list[str]] = defaultdict(list)
    for endpoint, body in _BODIES:
        for name, described in _fields(body).items():
            where[name].append(endpoint)
            found.setdefault(name, described)
        for other, name in body.aliases.items():
            if name in found and other not in found and other not in others[name]:
                others[name].append(other)
    rows = []
    for name in sorted(found):
        meaning, servers = found[name]
        names = ", ".join(f"`{other}`" for other in sorted(others[name]))
        rows.append([f"`{name}`", names, servers, ", ".join(where[name]), _cell(meaning), _cell(_engines(name))])
        for parent, kind in _NESTED:
            if parent == name:
                for inner, (text, known) in _fields(kind).items():
                    rows.append([f"`{name}.{inner}`", "", known, ", ".join(where[name]), _cell(text), "all"])
    return rows


def refused_rows() -> list[list[str]]:
    """One row for each refused parameter: name, servers, endpoints, values that are accepted, reason."""
    tables: list[tuple[str, str, Mapping[str, Unserved]]] = [
        ("chat", "", ChatCompletionRequest.unserved),
        ("text", "", CompletionRequest.unserved),
        *(("chat, text", f"{parent}.", kind.unserved) for parent, kind in _NESTED),
    ]
    where: dict[str, list[str]] = defaultdict(list)
    found: dict[str, Unserved] = {}
    for endpoint, prefix, table in tables:
        for name, unserved in table.items():
            where[prefix + name].append(endpoint)
            found.setdefault(prefix + name, unserved)
    return [
        [f"`{name}`", found[name].whose, ", ".join(where[name]), _values(found[name].neutral), found[name].reason]
        for name in sorted(found)
    ]


def _values(neutral: tuple[Any, ...]) -> str:
    return ", ".join(f"`{msgspec.json.encode(value).decode()}`" for value in neutral)


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def page(text: str) -> str:
    """The page with its tables as the schema has them."""
    intro, _, rest = text.partition(SERVED)
    first, _, second = rest.partition(REFUSED)
    served = table(["Parameter", "Other names", "Known to", "Endpoints", "Meaning", "Engines"], served_rows())
    refused = table(["Parameter", "Known to", "Endpoints", "Accepted values", "Reason"], refused_rows())
    return (
        f"{intro}{SERVED}{first.partition('| Parameter')[0]}{served}\n\n"
        f"{REFUSED}{second.partition('| Parameter')[0]}{refused}\n"
    )


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))

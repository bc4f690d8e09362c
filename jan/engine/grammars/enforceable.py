"""Turn an output format into one that a grammar can express, and name what is not enforced."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from jan.engine.formats import OutputFormat, schema_refused
from jan.engine.grammars.schema_keywords import Path, SchemaMalformed
from jan.engine.grammars.schema_trial import Refusal
from jan.engine.grammars.schemas import written_schema
from jan.errors import InvalidRequest
from jan.schema.tools import Tool

# Most paths that are kept of what is not enforced.
_MOST_PATHS = 20


class EnforceableFormat(msgspec.Struct, frozen=True):
    """An output format whose schemas a grammar can express. ``relaxed``: the request's paths of what it leaves
    out."""

    output: OutputFormat
    relaxed: tuple[str, ...] = ()


class SchemaOfFormat(msgspec.Struct, frozen=True):
    """A schema of a request. ``path``: where the request has it. ``param``: the parameter that errors name.

    ``strict``: all of it must be enforced. ``tolerant``: malformed keywords are left out, as other servers do for
    tools. Otherwise the request is refused.
    """

    schema: Any
    path: str
    param: str
    strict: bool
    tolerant: bool = False


def schemas_of(output: OutputFormat) -> Iterator[SchemaOfFormat]:
    """Yield the schemas to enforce: those of the callable tools, then that of the answer."""
    for index, tool in enumerate(output.callable_tools):
        path, strict = output.tool_path(index), bool(tool.function.strict)
        yield SchemaOfFormat(tool.function.parameters or {}, path, path, strict, tolerant=not strict)
    if output.json_schema:
        param = output.schema_param
        schema = msgspec.json.decode(output.json_schema)
        yield SchemaOfFormat(schema, output.schema_path or param, param, output.strict)


def enforceable(output: OutputFormat, refusal: Refusal, on_param: Callable[[str], None]) -> EnforceableFormat:
    """Return the format that a grammar can express.

    Args:
        output: the format that the request asks for.
        refusal: returns why the compiler can't express a schema, '' if it can.
        on_param: gets each parameter before its schema is read.

    Raises InvalidRequest for a value that JSON Schema does not allow, unless a tool without ``strict`` has it, and
    for a strict schema with a keyword that can't be enforced.
    """
    written: list[dict[str, Any]] = []
    relaxed: list[str] = []
    for one in schemas_of(output):
        on_param(one.param)
        schema, paths = _written(one, refusal)
        written.append(schema)
        relaxed += paths[:_MOST_PATHS]
    if not written:
        return EnforceableFormat(output)
    tools = tuple(
        _with_parameters(tool, schema) for tool, schema in zip(output.callable_tools, written, strict=False)
    )
    text = msgspec.json.encode(written[-1]).decode() if output.json_schema else ""
    changed = msgspec.structs.replace(output, callable_tools=tools, json_schema=text)
    return EnforceableFormat(changed, tuple(relaxed[:_MOST_PATHS]))


def _written(one: SchemaOfFormat, refusal: Refusal) -> tuple[dict[str, Any], list[str]]:
    try:
        schema, paths = written_schema(one.schema, refusal, tolerant=one.tolerant)
    except SchemaMalformed as malformed:
        raise _malformed(one, malformed) from None
    except RecursionError:
        raise schema_refused("it is nested too deeply", one.param) from None
    spelled = [one.path + _spelled(path) for path in paths]
    if one.strict and spelled:
        raise schema_refused(f"{spelled[0]} is strict, and no grammar expresses it", one.param)
    return schema, spelled


def _malformed(one: SchemaOfFormat, malformed: SchemaMalformed) -> InvalidRequest:
    path = one.path + _spelled(malformed.path)
    return schema_refused(f"{path} has a value that JSON Schema does not allow; {malformed.reason}", one.param)


def _spelled(path: Path) -> str:
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)


def _with_parameters(tool: Tool, schema: dict[str, Any]) -> Tool:
    return msgspec.structs.replace(tool, function=msgspec.structs.replace(tool.function, parameters=schema))

"""Make the OpenAPI 3.1 document from routes and operations; nothing in it is written twice."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, get_args

import msgspec
from apispec import APISpec

from jan import __version__
from jan.errors import (
    AuthenticationFailed,
    Conflict,
    InternalError,
    InvalidRequest,
    JanError,
    PayloadTooLarge,
    PermissionDenied,
    RateLimited,
    Unavailable,
    UnsupportedMediaType,
    status_of,
)
from jan.handler import Handler
from jan.idempotency.once import KEY_HEADER, KEY_PATTERN
from jan.limits import LIMIT_HEADERS, RETRY_HEADERS
from jan.operation import Operation
from jan.routing.described_bodies import body_content
from jan.routing.table import Route
from jan.schema.documents import SentFile
from jan.schema.open_body import OpenStruct

_DESCRIPTION = """Self-hosted, OpenAI-compatible LLM server.

OpenAI's SDKs work with this server's `/api/v1` as their base URL. Every error has one form, the
`ErrorEnvelope`; every response has an `X-Request-Id`, which the server's log repeats."""

_IDEMPOTENCY = (
    "A value of your own for this request, such as a UUID. If you send the request again with it within 24 hours, "
    "it is not carried out again: you get the first answer, with `Idempotent-Replayed: true`"
)
_REF = "#/components/schemas/{name}"
# How credentials may be sent: Authorization, the headers of Anthropic's and Azure's clients, and the cookie of a
# browser. Any one will do.
_CREDENTIALS: Mapping[str, dict[str, str]] = MappingProxyType(
    {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key (`jan_...`) or the token of a session, as `Authorization: Bearer`. A "
            "browser that is signed in needs neither: it sends its cookie by itself.",
        },
        "x-api-key": {
            "type": "apiKey",
            "in": "header",
            "name": "x-api-key",
            "description": "The same, in the header of Anthropic's clients.",
        },
        "api-key": {
            "type": "apiKey",
            "in": "header",
            "name": "api-key",
            "description": "The same, in the header of Azure's clients.",
        },
        "cookie": {
            "type": "apiKey",
            "in": "cookie",
            "name": "jan_session",
            "description": "The session of a browser, begun with `POST /auth/session` by a page of this server. "
            "Its name ends with an id of the server, and begins with `__Host-` over TLS. The browser sends it by "
            "itself.",
        },
    }
)
_REQUEST_ID = "X-Request-Id"
_LOCATION = "Location"

# Headers that every response has where the document names them.
_ALWAYS = MappingProxyType(
    {
        _REQUEST_ID: "Id of the request in the server's log. A well-formed id of the client's is kept",
        _LOCATION: "URL to continue at",
    }
)


def build_document(routes: Iterable[Route], title: str = "Jan Server") -> dict[str, Any]:
    """Return the document as plain dicts and lists."""
    spec = APISpec(
        title=title,
        version=__version__,
        openapi_version="3.1.0",
        info={"description": _DESCRIPTION},
        # Relative, so that the document holds behind any host name and proxy.
        servers=[{"url": "/", "description": "This server"}],
    )
    for name, scheme in _CREDENTIALS.items():
        spec.components.security_scheme(name, scheme)
    for name, meaning in _ALWAYS.items():
        spec.components.header(name, {"description": meaning, "required": True, "schema": {"type": "string"}})
    for name, meaning in {**LIMIT_HEADERS, **RETRY_HEADERS}.items():
        spec.components.header(name, {"description": meaning, "schema": {"type": "string"}})
    shown = [route for route in routes if not route.is_alias]
    references = _register_schemas(spec, shown)
    for route in shown:
        methods = {
            method.lower(): _operation(route, method, operation, references)
            for method, operation in route.operations.items()
        }
        spec.path(path=route.template, operations=methods)
    document: dict[str, Any] = spec.to_dict()
    return document


def _register_schemas(spec: APISpec, routes: list[Route]) -> dict[Any, dict[str, Any]]:
    """Put every type of every operation into the components. Returns the reference to each."""
    operations = [operation for route in routes for operation in route.operations.values()]
    types: list[Any] = [route.handler.error_type for route in routes]
    for operation in operations:
        kinds = (operation.request, operation.response, operation.events)
        types += [kind for kind in kinds if kind is not None and kind is not SentFile]
    unique = list(dict.fromkeys(types))
    references, components = msgspec.json.schema_components(unique, ref_template=_REF)
    open_names = {kind.__name__ for kind in _subclasses(OpenStruct)}
    for name, schema in components.items():
        if name in open_names:
            schema.pop("additionalProperties", None)
        spec.components.schema(name, schema)
    return dict(zip(unique, references, strict=True))


def _subclasses(kind: type[Any]) -> list[type[Any]]:
    return [found for inner in kind.__subclasses__() for found in (inner, *_subclasses(inner))]


def _operation(
    route: Route, method: str, operation: Operation, references: dict[Any, dict[str, Any]]
) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": f"{route.name}.{method.lower()}".replace(".", "_"),
        "summary": operation.summary,
        "description": operation.description,
        "tags": [operation.tag],
        "security": _security(operation),
        "responses": _with_request_id(_responses(route.handler, operation, references)),
    }
    names = [part[1:-1] for part in route.template.split("/") if part.startswith("{")]
    parameters = [*(_path_parameter(name, operation) for name in names), *_query_parameters(operation)]
    parameters += _header_parameters(operation)
    if parameters:
        described["parameters"] = parameters
    if operation.request is not None:
        content = body_content(operation, references)
        described["requestBody"] = {"required": type(None) not in get_args(operation.request), "content": content}
    return described


def _security(operation: Operation) -> list[dict[str, list[str]]]:
    if operation.access.scope is None:
        return []
    schemes: list[dict[str, list[str]]] = [{name: [operation.access.scope]} for name in _CREDENTIALS]
    return [{}, *schemes] if operation.access.anonymous else [*schemes]


def _path_parameter(name: str, operation: Operation) -> dict[str, Any]:
    parameter: dict[str, Any] = {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
    examples = [example.path[name] for example in operation.examples if name in example.path]
    return parameter | ({"example": examples[0]} if examples else {})


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    if operation.query is None:
        return []
    _, components = msgspec.json.schema_components([operation.query], ref_template=_REF)
    schema = components[operation.query.__name__]
    return [
        {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": values}
        for name, values in schema["properties"].items()
    ]


def _header_parameters(operation: Operation) -> list[dict[str, Any]]:
    described = {name: ({"type": "string"}, meaning) for name, meaning in operation.headers.items()}
    if operation.creates:
        described[KEY_HEADER] = ({"type": "string", "pattern": KEY_PATTERN}, _IDEMPOTENCY)
    return [
        {"name": name, "in": "header", "required": False, "schema": schema, "description": meaning}
        for name, (schema, meaning) in described.items()
    ]


def _responses(
    handler: type[Handler], operation: Operation, references: dict[Any, dict[str, Any]]
) -> dict[str, Any]:
    content: dict[str, Any] = {operation.media_type: {}}
    if operation.response is not None:
        content = {operation.media_type: {"schema": references[operation.response]}}
    if operation.events is not None:
        # OpenAPI 3.1 has no words for a sequence of events; the schema is that of each event's data.
        content[operation.events_media_type] = {"schema": references[operation.events]}
    responses: dict[str, Any] = {"200": {"description": "Success", "content": content}}
    if operation.redirect:
        responses["302"] = {"description": operation.redirect, "headers": _header_references([_LOCATION])}
        if operation.response is None:
            del responses["200"]
    for error in _errors(operation):
        responses[str(status_of(error))] = _error_response(handler, error, references)
    if operation.limit != "none":
        for response in responses.values():
            response["headers"] = response.get("headers", {}) | _header_references(LIMIT_HEADERS)
        responses[str(status_of(RateLimited))]["headers"] |= _header_references(RETRY_HEADERS)
    return responses


def _with_request_id(responses: dict[str, Any]) -> dict[str, Any]:
    header = _header_references([_REQUEST_ID])
    return {
        status: response | {"headers": response.get("headers", {}) | header}
        for status, response in responses.items()
    }


def _header_references(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _error_response(
    handler: type[Handler], error: type[JanError], references: dict[Any, dict[str, Any]]
) -> dict[str, Any]:
    meaning = (error.__doc__ or error.__name__).strip()
    example = msgspec.to_builtins(handler.error_body(error(meaning), f"req_{0:024x}"))
    return {
        "description": meaning,
        "content": {"application/json": {"schema": references[handler.error_type], "example": example}},
    }


def _errors(operation: Operation) -> list[type[JanError]]:
    """Return the declared errors, and those that follow from the declaration."""
    # Everything is unavailable while the server shuts down, and most operations while the store is away.
    implied: list[type[JanError]] = [InternalError, Unavailable]
    if operation.query is not None:
        implied.append(InvalidRequest)
    if operation.request is not None:
        implied += [InvalidRequest, PayloadTooLarge, UnsupportedMediaType]
    if operation.creates:
        implied += [InvalidRequest, Conflict, Unavailable]
    if operation.limit != "none":
        implied.append(RateLimited)
    if operation.access.scope is not None:
        implied += [AuthenticationFailed, PermissionDenied]
    return sorted({*operation.errors, *implied}, key=status_of)

"""Describe bodies of requests in the OpenAPI document, with their examples."""

import re
from typing import Any

from jan.operation import Example, Operation
from jan.schema.documents import SentFile


def body_content(operation: Operation, references: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    """Describe the body of an operation by its media types."""
    if operation.request is SentFile:
        return _file_content(operation)
    return {operation.request_media_type: _described(operation, references)}


def _described(operation: Operation, references: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    # Where the body is lines of JSON, the schema is that of each line.
    content: dict[str, Any] = {"schema": references[operation.request]}
    examples = {
        _slug(example): {"summary": example.summary, "value": example.body}
        for example in operation.examples
        if example.body is not None
    }
    return content | ({"examples": examples} if examples else {})


def _file_content(operation: Operation) -> dict[str, Any]:
    """Describe a file as a form and as a body of its own."""
    file = {"type": "string", "format": "binary"}
    form = {"type": "object", "required": ["file"], "properties": {"file": file}}
    forms, plain = {}, {}
    for example in operation.examples:
        assert isinstance(example.body, dict)  # the files of a form
        forms[_slug(example)] = {"summary": example.summary, "value": example.body}
        plain[_slug(example)] = {"summary": example.summary, "value": example.body["file"]}
    return {
        operation.request_media_type: {"schema": form, "examples": forms},
        "application/octet-stream": {"schema": file, "examples": plain},
    }


def _slug(example: Example) -> str:
    """Return a name for an example, made of its summary."""
    return re.sub(r"[^a-z0-9]+", "-", example.summary.lower()).strip("-")

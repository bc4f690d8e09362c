"""Collects the variables that a request gives to the model's chat template."""

from typing import Any

import msgspec

from jan.errors import InvalidRequest
from jan.schema.chat import ChatCompletionRequest, Documents

# Variables that have their own parameter too.
_SWITCHES = ("enable_thinking", "reasoning_effort")
# Variables that the server sets.
_RESERVED = frozenset(
    {"messages", "tools", "add_generation_prompt", "continue_final_message", "chat_template", "documents"}
)


def template_options(body: ChatCompletionRequest) -> dict[str, Any]:
    """Return the template's variables by name. Raises InvalidRequest for a name that is the server's own.

    A parameter of the request and the same name in ``chat_template_kwargs`` must agree.
    """
    options = dict(body.chat_template_kwargs or {})
    options.pop("documents", None)  # ``documents_of`` has them
    for name in sorted(options):
        if name in _RESERVED or name.endswith("_token"):
            raise _refusal(name, "Not allowed, because the server sets this variable.")
    for name in _SWITCHES:
        value = getattr(body, name)
        if value is not None and options.setdefault(name, value) != value:
            raise _refusal(name, f"It differs from the parameter {name}.")
    return options


def documents_of(body: ChatCompletionRequest) -> tuple[dict[str, Any], ...] | None:
    """Return the documents, from the parameter or from ``chat_template_kwargs``. Raises InvalidRequest."""
    given = (body.chat_template_kwargs or {}).get("documents")
    if given is None:
        return None if body.documents is None else tuple(body.documents)
    if body.documents is not None:
        raise _refusal("documents", "Not allowed beside the parameter documents.")
    try:
        return tuple(msgspec.convert(given, Documents))
    except msgspec.ValidationError:
        raise _refusal("documents", "Expected an array of objects, with `title` and `text`.") from None


def _refusal(name: str, why: str) -> InvalidRequest:
    param = f"chat_template_kwargs.{name}"
    return InvalidRequest(f"{param}: {why}", code="invalid_value", param=param)

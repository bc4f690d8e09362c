"""Write a tool call as text, in the form of a dialect."""

import json
from collections.abc import Mapping
from typing import Any

from jan.engine.prompts.dialects.forms import INDEX, NINE, ArgumentForm, CallForm

_PYTHON = {None: "None", True: "True", False: "False"}


def call_as_text(form: CallForm, name: str, arguments: Mapping[str, Any] | str, index: int = 0) -> str:
    """Return a call as the model must write it, as the only one of its answer.

    ``arguments``: text stays as it is.
    """
    text = arguments if isinstance(arguments, str) else _arguments(form, arguments)
    whole = f"{form.begins}{name}{form.after_name}{text}{form.end}{form.closing}"
    return whole.replace(INDEX, str(index)).replace(NINE, f"call{index:05}")


def example_call(form: CallForm) -> str:
    """Return a call as instructions show it, with placeholders."""
    if form.argument is None:
        return call_as_text(form, "<function name>", "<arguments as a JSON object>")
    return call_as_text(form, "<function name>", {"<argument name>": "<value>"})


def _arguments(form: CallForm, arguments: Mapping[str, Any]) -> str:
    one = form.argument
    if one is None:
        return json.dumps(arguments, ensure_ascii=False)
    return one.between.join(
        f"{one.before_key}{key}{one.key_end}{one.before_value}{_value(form, one, value)}{one.end}"
        for key, value in arguments.items()
    )


def _value(form: CallForm, one: ArgumentForm, value: Any) -> str:
    if form.arguments == "marked":
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if form.arguments == "python":
        return (
            _PYTHON[value] if value is None or isinstance(value, bool) else json.dumps(value, ensure_ascii=False)
        )
    return _compact(one.quote, value)


def _compact(quote: str, value: Any) -> str:
    if isinstance(value, str):
        return f"{quote}{value}{quote}"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_compact(quote, item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_compact(quote, item) for item in value) + "]"
    return json.dumps(value)

"""Checks the variables that a request gives to the chat template."""

from collections.abc import Set

from jan.engine.generation_request import ChatPrompt
from jan.errors import InvalidRequest

# Switches that many clients set whatever the model. A template that lacks one is not asked in vain.
SWITCHES = ("enable_thinking", "thinking", "reasoning_effort")
# Variables that the server sets itself.
_OWN = frozenset({"messages", "tools", "documents", "add_generation_prompt"})


def check_options(prompt: ChatPrompt, variables: Set[str]) -> None:
    """Check what a request gives to a template that reads ``variables``. Raises InvalidRequest."""
    for name in prompt.template_options:
        if name not in variables and name not in SWITCHES:
            known = ", ".join(sorted(one for one in variables - _OWN if not one.endswith("_token"))) or "none"
            raise _refusal(
                f"chat_template_kwargs.{name}: The model's chat template lacks this variable; allowed: {known}.",
                f"chat_template_kwargs.{name}",
            )
    if prompt.documents and "documents" not in variables:
        raise _refusal("documents: The model's chat template takes no documents.", "documents")


def ignored_options(prompt: ChatPrompt, variables: Set[str]) -> tuple[str, ...]:
    """Return the switches of a request that a template lacks."""
    return tuple(name for name in prompt.template_options if name in SWITCHES and name not in variables)


def _refusal(message: str, param: str) -> InvalidRequest:
    return InvalidRequest(message, code="invalid_value", param=param)

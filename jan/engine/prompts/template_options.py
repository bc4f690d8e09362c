"""Checks the variables that a request gives to the chat template."""

from collections.abc import Set
from typing import Any

from jan.engine.generation_request import ChatPrompt
from jan.errors import wrong_value

# Switches that many clients set whatever the model. A template that lacks one is not asked in vain.
SWITCHES = ("enable_thinking", "thinking", "reasoning_effort")
# Switches that only turn reasoning on and off.
_ON_AND_OFF = ("enable_thinking", "thinking")
# Variables that the server sets itself.
_OWN = frozenset({"messages", "tools", "documents", "add_generation_prompt"})


def check_options(prompt: ChatPrompt, variables: Set[str]) -> None:
    """Check what a request gives to a template that reads ``variables``. Raises InvalidRequest."""
    for name in prompt.template_options:
        if name not in variables and name not in SWITCHES:
            known = ", ".join(sorted(one for one in variables - _OWN if not one.endswith("_token"))) or "none"
            raise wrong_value(
                f"chat_template_kwargs.{name}: The model's chat template lacks this variable; allowed: {known}.",
                f"chat_template_kwargs.{name}",
            )
    if prompt.documents and "documents" not in variables:
        raise wrong_value("documents: The model's chat template takes no documents.", "documents")


def fitted_options(given: dict[str, Any], variables: Set[str]) -> dict[str, Any]:
    """Return the variables that a template gets.

    A template that has no levels of effort gets its switch of reasoning, off, for the effort `none`, as with vLLM.
    A switch that the request sets itself stays.
    """
    return {**dict.fromkeys(_switched_off(given, variables), False), **given}


def ignored_options(prompt: ChatPrompt, variables: Set[str]) -> tuple[str, ...]:
    """Return the switches of a request that a template lacks."""
    lacking = {*SWITCHES} - variables
    if _switched_off(prompt.template_options, variables):
        lacking.remove("reasoning_effort")
    return tuple(name for name in prompt.template_options if name in lacking)


def _switched_off(given: dict[str, Any], variables: Set[str]) -> tuple[str, ...]:
    """Return the switches that the effort turns off."""
    if given.get("reasoning_effort") != "none" or "reasoning_effort" in variables:
        return ()
    return tuple(name for name in _ON_AND_OFF if name in variables)

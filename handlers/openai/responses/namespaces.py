"""Tools of a request for a response, also those in namespaces: models know each by one name."""

import hashlib
from collections.abc import Sequence
from typing import Any

from handlers.openai.sampling import refused

FUNCTION_KEYS = ("name", "description", "parameters", "strict")
CUSTOM_KEYS = ("name", "description", "format")
_NAMESPACE_KEYS = ("type", "name", "tools")
# The longest name of a function, and the characters of the digest that ends a longer one.
_LONGEST = 64
_DIGEST = 8


def joined_name(namespace: str | None, name: str) -> str:
    """Return the name by which a model knows a tool: `namespace__name`, as with vLLM."""
    if not namespace:
        return name
    joined = f"{namespace}__{name}"
    if len(joined) <= _LONGEST:
        return joined
    digest = hashlib.blake2b(joined.encode(), digest_size=_DIGEST // 2).hexdigest()
    return f"{joined[: _LONGEST - _DIGEST - 1]}_{digest}"


class ServedTools:
    """The tools of a request that a model gets. Raises InvalidRequest.

    Attributes:
        tools: the tools; those in namespaces have their joined names.
        places: where each stands in the request.
        written: the tools as the client wrote them, without those that nothing here runs.
        ignored: names of what nothing here uses.
        namespaced: by the joined name of a tool in a namespace, the members of a call's item that name it.
    """

    def __init__(self, given: Sequence[dict[str, Any]] | None) -> None:
        self.tools: list[dict[str, Any]] = []
        self.places: list[str] = []
        self.written: list[dict[str, Any]] = []
        self.ignored: list[str] = []
        self.namespaced: dict[str, dict[str, str]] = {}
        for number, tool in enumerate(given or ()):
            if self._add(tool, f"tools[{number}]", namespace=None):
                self.written.append(tool)

    def _add(self, tool: dict[str, Any], place: str, namespace: str | None) -> bool:
        """Add a tool, or those of a namespace; return False if there is none that a model could get."""
        kind = tool.get("type")
        if not isinstance(kind, str):
            raise refused(f"{place}.type", "Required; allowed: a text.")
        if kind == "namespace" and namespace is None:
            return self._add_namespace(tool, place)
        if kind not in ("function", "custom"):
            self.ignored.append(place)
            return False
        known = ("type", *(CUSTOM_KEYS if kind == "custom" else FUNCTION_KEYS))
        self.ignored += [f"{place}.{name}" for name in tool if name not in known]
        name = tool.get("name")
        if namespace is not None and isinstance(name, str):
            tool = {**tool, "name": joined_name(namespace, name)}
            self.namespaced[tool["name"]] = {"name": name, "namespace": namespace}
        self.tools.append(tool)
        self.places.append(place)
        return True

    def _add_namespace(self, tool: dict[str, Any], place: str) -> bool:
        name, tools = tool.get("name"), tool.get("tools")
        if not isinstance(name, str) or not name:
            raise refused(f"{place}.name", "Required; allowed: a text that is not empty.")
        if not isinstance(tools, list) or not all(isinstance(one, dict) for one in tools):
            raise refused(f"{place}.tools", "Required; allowed: a list of tools.")
        served = [self._add(one, f"{place}.tools[{number}]", name) for number, one in enumerate(tools)]
        if not any(served):
            self.ignored.append(place)
            return False
        self.ignored += [f"{place}.{key}" for key in tool if key not in _NAMESPACE_KEYS]
        return True

    def joined(self, choice: Any) -> Any:
        """Return a choice of tools with the joined names of those that it names."""
        if not isinstance(choice, dict):
            return choice
        if isinstance(tools := choice.get("tools"), list):
            return {**choice, "tools": [self.joined(tool) for tool in tools]}
        name = choice.get("name")
        if not isinstance(name, str) or name in (tool.get("name") for tool in self.tools):
            return choice
        found = [joined for joined, tool in self.namespaced.items() if tool["name"] == name]
        if len(found) > 1:
            raise refused("tool_choice", f"'{name}' is in several namespaces; allowed: {', '.join(found)}.")
        return {**choice, "name": found[0]} if found else choice

"""What is measured, by name; each is imported when it is asked for."""

from importlib import import_module
from types import MappingProxyType

from jan.bench.plan import Scenario

#: name -> module, and what it is about
SCENARIOS = MappingProxyType(
    {
        "stream": ("jan.bench.scenarios.stream", "server-sent events: what a token delivered costs"),
    }
)


def scenario(name: str) -> Scenario:
    """The scenario of that name, which there must be."""
    module: Scenario = import_module(SCENARIOS[name][0])
    return module

"""What is measured, by name; each is imported when it is asked for."""

from importlib import import_module
from types import MappingProxyType

from jan.bench.plan import Scenario

#: name -> module, and what it is about
SCENARIOS = MappingProxyType(
    {
        "stream": ("jan.bench.scenarios.stream", "server-sent events: what a token delivered costs"),
        "overhead": ("jan.bench.scenarios.overhead", "what keys, limits and the store add to a request"),
        "model": (
            "jan.bench.scenarios.model",
            "the real model through HTTP, beside the same model driven straight",
        ),
        "contention": ("jan.bench.scenarios.contention", "what busy clients take from the model's thread"),
        "cancel": ("jan.bench.scenarios.cancel", "from a client's leaving to a free slot"),
        "start": ("jan.bench.scenarios.start", "imports, readiness, memory"),
        "store": ("jan.bench.scenarios.store", "conversations that grow"),
    }
)


def scenario(name: str) -> Scenario:
    """The scenario of that name, which there must be."""
    module: Scenario = import_module(SCENARIOS[name][0])
    return module

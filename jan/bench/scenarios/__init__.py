"""The scenarios by name. Each is imported when it is asked for."""

from importlib import import_module
from types import MappingProxyType

from jan.bench.plan import Scenario

#: Name -> module, and what it measures.
SCENARIOS = MappingProxyType(
    {
        "stream": ("jan.bench.scenarios.stream", "server-sent events: what a token delivered costs"),
        "overhead": ("jan.bench.scenarios.overhead", "what keys, limits and the store add to a request"),
        "model": (
            "jan.bench.scenarios.model_speed",
            "the real model through HTTP, beside the same model driven straight",
        ),
        "contention": ("jan.bench.scenarios.contention", "what busy clients take from the model's thread"),
        "isolation": (
            "jan.bench.scenarios.isolation",
            "what a process of its own costs a model, and its return after a kill",
        ),
        "cancel": ("jan.bench.scenarios.cancel", "from a client's leaving to a free slot"),
        "start": ("jan.bench.scenarios.start", "imports, readiness, memory"),
        "store": ("jan.bench.scenarios.store_growth", "conversations that grow"),
    }
)


def scenario(name: str) -> Scenario:
    """Return the scenario of that name, which must exist."""
    module: Scenario = import_module(SCENARIOS[name][0])
    return module

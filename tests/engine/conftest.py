"""The backends that the engine contract is checked for."""

from collections.abc import Callable

import pytest

from jan.engine.base import Backend


@pytest.fixture(params=["echo", pytest.param("llamacpp", marks=pytest.mark.model)])
def make_backend(request: pytest.FixtureRequest) -> Callable[[], Backend]:
    """Every backend that runs here; the contract is the same for all."""
    if request.param == "echo":
        from jan.engine.echo import EchoBackend, EchoOptions

        return lambda: EchoBackend(EchoOptions(slots=4, context=64, repeat=20, step_seconds=0.01))
    from jan.engine.llamacpp import LlamaCppBackend, LlamaCppOptions

    return lambda: LlamaCppBackend(LlamaCppOptions(slots=4, context=64, batch=32))

"""The backends that the engine contract is checked for."""

from collections.abc import Callable

import pytest

from jan.engine.base import Backend
from jan.engine.isolation.engine_messages import BackendPlan


@pytest.fixture(
    params=[
        "echo",
        pytest.param("llamacpp", marks=pytest.mark.model),
        pytest.param("exllamav2", marks=pytest.mark.torch),
        pytest.param("exllamav3", marks=pytest.mark.torch),
    ]
)
def make_backend(request: pytest.FixtureRequest) -> Callable[[], Backend]:
    """Return a function that makes each backend that runs here; the contract is the same for all."""
    if request.param == "echo":
        from jan.engine.backends.echo import EchoBackend, EchoOptions

        return lambda: EchoBackend(EchoOptions(slots=4, context=64, repeat=20, step_seconds=0.01))
    if request.param == "exllamav2":
        pytest.importorskip("support.exllamav2_cpu", reason="PyTorch is not installed", exc_type=ImportError)
        from support.exllamav2_cpu import any_device

        from jan.engine.backends.exllama.v2 import ExLlamaV2Backend, ExLlamaV2Options

        folder = str(request.getfixturevalue("tiny_folder"))
        return lambda: ExLlamaV2Backend(
            ExLlamaV2Options(model=folder, slots=4, context=64, chunk=256), any_device()
        )
    if request.param == "exllamav3":
        pytest.importorskip(
            "jan.engine.backends.exllama.v3", reason="ExLlamaV3 is not installed", exc_type=ImportError
        )
        pytest.importorskip("triton", reason="Triton is not installed, which ExLlamaV3 imports")
        from support.exllamav3_cpu import CpuDevice

        from jan.engine.backends.exllama.v3 import ExLlamaV3Backend, ExLlamaV3Options

        folder = str(request.getfixturevalue("tiny_folder"))
        return lambda: ExLlamaV3Backend(
            ExLlamaV3Options(model=folder, slots=4, context=64, chunk=256), CpuDevice()
        )
    from jan.engine.backends.llamacpp import LlamaCppBackend, LlamaCppOptions

    return lambda: LlamaCppBackend(LlamaCppOptions(slots=4, context=64, batch=32))


@pytest.fixture(
    params=[
        "echo",
        pytest.param("llamacpp", marks=[pytest.mark.model, pytest.mark.heavy]),
        pytest.param("exllamav2", marks=[pytest.mark.torch, pytest.mark.heavy]),
    ],
)
def backend_plan(request: pytest.FixtureRequest) -> BackendPlan:
    """Return how a process makes the same backends. Real models are loaded for each test, so they are heavy."""
    if request.param == "echo":
        options = {"slots": 4, "context": 64, "repeat": 20, "step_seconds": 0.01}
        return BackendPlan(kind="echo", file=None, options=options)
    if request.param == "llamacpp":
        return BackendPlan(kind="llamacpp", file=None, options={"slots": 4, "context": 64, "batch": 32})
    pytest.importorskip("support.exllamav2_cpu", reason="PyTorch is not installed", exc_type=ImportError)
    folder = str(request.getfixturevalue("tiny_folder"))
    options = {"model": folder, "slots": 4, "context": 64, "chunk": 256}
    return BackendPlan(kind="support.exllamav2_backend.StandInBackend", file=None, options=options)

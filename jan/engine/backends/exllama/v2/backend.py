"""Backend over ExLlamaV2's dynamic generator."""

from typing import Any

from jan.engine.backends.exllama.common.backend import ExLlamaBackend
from jan.engine.backends.exllama.common.device import Device
from jan.engine.backends.exllama.common.job_plan import JobPlan
from jan.engine.backends.exllama.common.loading import LoadedGenerator
from jan.engine.backends.exllama.v2.device import CudaDevice
from jan.engine.backends.exllama.v2.model_front import ExLlamaV2Front
from jan.engine.backends.exllama.v2.options import ExLlamaV2Options
from jan.engine.backends.lacking import EXLLAMAV2
from jan.errors import JanError


class ExLlamaV2Backend(ExLlamaBackend, ExLlamaV2Front):
    """One EXL2, GPTQ or unquantised folder, its key-value cache and the running answers."""

    unserved = EXLLAMAV2
    stops_early = True

    def __init__(self, options: ExLlamaV2Options, device: Device | None = None) -> None:
        super().__init__(options, device or CudaDevice(options.attention))
        self._chosen = options

    def _make_loaded(self, gpus: int) -> LoadedGenerator:
        from jan.engine.backends.exllama.v2 import loading, salting

        self._salting = salting
        return loading.LoadedModel(self._chosen, self._size.cache_tokens, gpus)

    def _make_job(self, plan: JobPlan, salt: bytes) -> Any:
        return self._salting.OwnedJob(plan, salt=salt)

    def _free_pages(self) -> int:
        return len(self._generator.unreferenced_pages)

    def _start(self, job: Any) -> None:
        self._generator.enqueue(job)
        self._generator.iterate_start_jobs([])

    def _advance(self) -> dict[int, JanError]:
        # The library raises if anything fails, and then every running answer fails.
        self._generator.iterate()
        return {}

"""Backend over ExLlamaV3's generator."""

from typing import Any

import structlog

from jan.engine.backends.exllama.common.backend import ExLlamaBackend
from jan.engine.backends.exllama.common.device import Device
from jan.engine.backends.exllama.common.job_plan import JobPlan
from jan.engine.backends.exllama.common.loading import LoadedGenerator
from jan.engine.backends.exllama.v3.device import CudaDevice
from jan.engine.backends.exllama.v3.model_front import ExLlamaV3Front
from jan.engine.backends.exllama.v3.options import ExLlamaV3Options
from jan.engine.backends.lacking import EXLLAMAV3
from jan.errors import InternalError, JanError

log = structlog.get_logger(__name__)


class ExLlamaV3Backend(ExLlamaBackend, ExLlamaV3Front):
    """One EXL3 or unquantised folder, its key-value cache and the running answers."""

    unserved = EXLLAMAV3

    def __init__(self, options: ExLlamaV3Options, device: Device | None = None) -> None:
        super().__init__(options, device or CudaDevice())
        self._chosen = options

    def _make_loaded(self, gpus: int) -> LoadedGenerator:
        from jan.engine.backends.exllama.v3 import loading, salting

        self._salting = salting
        return loading.LoadedModel(self._chosen, self._size.cache_tokens)

    def _make_job(self, plan: JobPlan, salt: bytes) -> Any:
        return self._salting.OwnedJob(plan, salt=salt)

    def _free_pages(self) -> int:
        return int(self._generator.pagetable.num_unreferenced_pages())

    def _start(self, job: Any) -> None:
        results: list[dict[str, Any]] = []
        self._generator.enqueue(job)
        self._generator.iterate_start_jobs(results)
        if errors := failures(results):
            raise next(iter(errors.values()))

    def _advance(self) -> dict[int, JanError]:
        errors = failures(self._generator.iterate())
        for error in errors.values():
            log.error("request failed in the model", exc_info=error)
        # The library has already dropped these jobs and freed their pages.
        return {job: InternalError(f"The model failed: {type(error).__name__}.") for job, error in errors.items()}


def failures(results: list[dict[str, Any]]) -> dict[int, Exception]:
    """Return the exceptions that the library reports, by ``id()`` of its job. The other jobs continue."""
    return {id(result["job"]): result["error"] for result in results if result["stage"] == "error"}

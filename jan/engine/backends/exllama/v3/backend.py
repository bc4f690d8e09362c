"""Backend over ExLlamaV3's generator."""

from typing import Any

import structlog

from jan.engine.backends.exllama.common.backend import ExLlamaBackend, Loaded
from jan.engine.backends.exllama.common.device import Device
from jan.engine.backends.exllama.common.folder import FolderFormats
from jan.engine.backends.exllama.common.salting import salt_of
from jan.engine.backends.exllama.v3.device import CudaDevice
from jan.engine.backends.exllama.v3.options import ExLlamaV3Options
from jan.engine.base import GenerationRequest
from jan.engine.grammars.constraint import Constraint
from jan.errors import InternalError, JanError

log = structlog.get_logger(__name__)


class ExLlamaV3Backend(ExLlamaBackend):
    """One EXL3 or unquantised folder, its cache and the answers under way."""

    name = "exllamav3"
    formats = FolderFormats(
        methods=("exl3",), described="EXL3, or unquantised fp16/bf16 safetensors", rope_parameters=True
    )
    # The library keeps one cell of a job free, and would cut an answer that needs it short.
    reserve = 1

    def __init__(self, options: ExLlamaV3Options, device: Device | None = None) -> None:
        super().__init__(options, device or CudaDevice())
        self._chosen = options

    def _make_loaded(self, gpus: int) -> Loaded:
        from jan.engine.backends.exllama.v3 import generation, loading, salting

        self._generation, self._salting = generation, salting
        return loading.LoadedModel(self._chosen, self._size.cells)

    def _make_job(
        self, request: GenerationRequest, tokens: list[int], limit: int, constraint: Constraint | None
    ) -> Any:
        arguments = (tokens, limit, request.sampling, self._tokens.stop_tokens, constraint)
        vocabulary, keep_logits = len(self._tokens.pieces), request.logprobs is not None
        if self._chosen.share_prefixes == "all":
            return self._generation.SampledJob(*arguments, vocabulary=vocabulary, keep_logits=keep_logits)
        salt = salt_of(request.owner, self._secret)
        return self._salting.OwnedJob(*arguments, vocabulary=vocabulary, keep_logits=keep_logits, salt=salt)

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
        # The library has taken the job out, and given its pages back.
        return {job: InternalError(f"the model failed: {type(error).__name__}") for job, error in errors.items()}


def failures(results: list[dict[str, Any]]) -> dict[int, Exception]:
    """What the library says went wrong, by the id() of its job: it tells of it, and goes on with the others."""
    return {id(result["job"]): result["error"] for result in results if result["stage"] == "error"}

"""Backend over ExLlamaV2's dynamic generator."""

from typing import Any

from jan.engine.backends.exllama.common.backend import ExLlamaBackend, Loaded
from jan.engine.backends.exllama.common.device import Device
from jan.engine.backends.exllama.common.folder import FolderFormats
from jan.engine.backends.exllama.common.salting import salt_of
from jan.engine.backends.exllama.v2.device import CudaDevice
from jan.engine.backends.exllama.v2.loras import check_lora
from jan.engine.backends.exllama.v2.options import ExLlamaV2Options
from jan.engine.base import GenerationRequest
from jan.engine.grammars.constraint import Constraint
from jan.errors import JanError


class ExLlamaV2Backend(ExLlamaBackend):
    """One EXL2, GPTQ or unquantised folder, its cache and the answers under way."""

    name = "exllamav2"
    formats = FolderFormats(
        methods=("exl2", "gptq"),
        described="EXL2, GPTQ, or unquantised fp16/bf16 safetensors",
        rope_parameters=False,
    )

    def __init__(self, options: ExLlamaV2Options, device: Device | None = None) -> None:
        for lora in options.loras:
            check_lora(lora.folder)
        super().__init__(options, device or CudaDevice(options.attention))
        self._chosen = options

    def _make_loaded(self, gpus: int) -> Loaded:
        from jan.engine.backends.exllama.v2 import generation, loading, salting

        self._generation, self._salting = generation, salting
        return loading.LoadedModel(self._chosen, self._size.cells, gpus)

    def _make_job(
        self, request: GenerationRequest, tokens: list[int], limit: int, constraint: Constraint | None
    ) -> Any:
        arguments = (
            tokens,
            # The library ends so many tokens before its limit, to have room for what it guesses.
            limit + self._options.ahead,
            request.sampling,
            self._tokens.stop_tokens,
            constraint,
        )
        vocabulary, keep_logits = len(self._tokens.pieces), request.logprobs is not None
        if self._chosen.share_prefixes == "all":
            return self._generation.SampledJob(*arguments, vocabulary=vocabulary, keep_logits=keep_logits)
        salt = salt_of(request.owner, self._secret)
        return self._salting.OwnedJob(*arguments, vocabulary=vocabulary, keep_logits=keep_logits, salt=salt)

    def _free_pages(self) -> int:
        return len(self._generator.unreferenced_pages)

    def _start(self, job: Any) -> None:
        self._generator.enqueue(job)
        self._generator.iterate_start_jobs([])

    def _advance(self) -> dict[int, JanError]:
        # What goes wrong here is raised, and fails every answer under way.
        self._generator.iterate()
        return {}

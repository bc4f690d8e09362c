"""ExLlamaV2 with its stand-ins, as a backend that a process imports by name."""

# Before the backend, whose library looks for its compiled extension when it is imported.
from support.exllamav2_cpu import any_device

# isort: split
from jan.engine.backends.exllama.v2.backend import ExLlamaV2Backend
from jan.engine.backends.exllama.v2.options import ExLlamaV2Options


class StandInBackend(ExLlamaV2Backend):
    """The engine wherever this machine lets it run: on a GPU, or on the CPU."""

    def __init__(self, options: ExLlamaV2Options) -> None:
        super().__init__(options, any_device())

"""`jan` with the ExLlamaV2 engine wherever this machine lets it run: a GPU, or the stand-ins on the CPU."""

# Before the backend, whose library looks for its compiled extension when it is imported.
from support import exllamav2_cpu

# isort: split
import jan.engine.backends.exllama.v2.backend
from jan.cli.commands import main

if __name__ == "__main__":
    jan.engine.backends.exllama.v2.backend.CudaDevice = lambda attention: exllamav2_cpu.any_device()
    main()

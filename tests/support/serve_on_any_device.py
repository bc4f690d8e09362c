"""`jan` with the ExLlamaV2 engine wherever this machine lets it run: a GPU, or the stand-ins on the CPU."""

import jan.engine.backends.exllama.v2.backend
from jan.cli.commands import main
from support import exllamav2

if __name__ == "__main__":
    jan.engine.backends.exllama.v2.backend.CudaDevice = lambda attention: exllamav2.any_device()
    main()

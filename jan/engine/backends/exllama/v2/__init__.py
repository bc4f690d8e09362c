"""The ExLlamaV2 engine (EXL2, GPTQ and fp16 folders on NVIDIA GPUs).

``backend`` drives, ``folder`` and ``tokens`` read the model's files, ``device`` opens the library,
``generation`` samples, ``loading`` loads, ``attention`` stands in for flash-attn.
"""

from importlib.util import find_spec

if find_spec("exllamav2") is None:
    # Not imported here: its first import compiles for minutes, and needs a GPU.
    raise ModuleNotFoundError("No module named 'exllamav2'", name="exllamav2")

from jan.engine.backends.exllama.v2.backend import ExLlamaV2Backend
from jan.engine.backends.exllama.v2.options import ExLlamaV2Options

__all__ = ["ExLlamaV2Backend", "ExLlamaV2Options"]

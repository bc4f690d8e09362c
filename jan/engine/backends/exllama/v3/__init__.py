"""The ExLlamaV3 engine (EXL3 and unquantised folders on NVIDIA GPUs).

``backend`` drives, ``device`` opens the library, ``generation`` samples, ``loading`` loads; the rest is shared
with the ExLlamaV2 engine, in ``jan.engine.backends.exllama.common``.
"""

from importlib.util import find_spec

if find_spec("exllamav3") is None:
    # Not imported here: its first import compiles for minutes, and needs a GPU.
    raise ModuleNotFoundError("No module named 'exllamav3'", name="exllamav3")

from jan.engine.backends.exllama.v3.backend import ExLlamaV3Backend
from jan.engine.backends.exllama.v3.options import ExLlamaV3Options

__all__ = ["ExLlamaV3Backend", "ExLlamaV3Options"]

"""The front of the ExLlamaV3 engine: what can be known without the library or a GPU."""

from jan.engine.backends.exllama.common.folder import FolderFormats
from jan.engine.backends.exllama.common.model_front import ExLlamaFront
from jan.engine.backends.exllama.v3.options import ExLlamaV3Options


class ExLlamaV3Front(ExLlamaFront):
    """The checked options of one folder, and its files."""

    Options = ExLlamaV3Options

    name = "exllamav3"
    formats = FolderFormats(
        methods=("exl3",), described="EXL3, or unquantised fp16/bf16 safetensors", rope_parameters=True
    )
    # The library keeps one cache token of each job free. Without this one, the longest answers would be cut short.
    reserve = 1

"""The front of the ExLlamaV2 engine: what can be known without the library or a GPU."""

from jan.engine.backends.exllama.common.folder import FolderFormats
from jan.engine.backends.exllama.common.model_front import ExLlamaFront
from jan.engine.backends.exllama.v2.loras import check_lora
from jan.engine.backends.exllama.v2.options import ExLlamaV2Options


class ExLlamaV2Front(ExLlamaFront):
    """The checked options of one folder, and its files."""

    Options = ExLlamaV2Options

    name = "exllamav2"
    formats = FolderFormats(
        methods=("exl2", "gptq"),
        described="EXL2, GPTQ, or unquantised fp16/bf16 safetensors",
        rope_parameters=False,
    )

    def __init__(self, options: ExLlamaV2Options) -> None:
        for lora in options.loras:
            check_lora(lora.folder)
        super().__init__(options)

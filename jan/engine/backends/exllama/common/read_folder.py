"""The trial of a model folder: configuration, weights' headers, vocabulary and chat template, without a GPU."""

from jan.engine.backends.exllama.common.folder import FolderFormats, ModelFolder
from jan.engine.backends.exllama.common.tokenizer import FolderTokenizer
from jan.engine.prompts.dialects import ReasoningOption, ToolFormatOption


def read_first(
    model: str,
    methods: tuple[str, ...],
    described: str,
    rope_parameters: bool,
    tool_format: ToolFormatOption,
    reasoning: ReasoningOption,
) -> None:
    """Read everything but the weights' numbers. Raises ConfigurationError for a folder that can't be loaded.

    ``methods``, ``described``, ``rope_parameters``: see ``FolderFormats``.
    """
    formats = FolderFormats(methods=tuple(methods), described=described, rope_parameters=rope_parameters)
    folder = ModelFolder(model, formats)
    folder.check_weights()
    FolderTokenizer(folder, tool_format=tool_format, reasoning=reasoning)

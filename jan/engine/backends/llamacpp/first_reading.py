"""The trial of a GGUF file: everything that loading does, without the memory for weights."""

from pathlib import Path

import cyllama.llama.llama_cpp as llama

from jan.engine.backends.llamacpp.model import GgufModel
from jan.engine.backends.llamacpp.options import LlamaCppOptions, PoolingOption
from jan.engine.backends.llamacpp.pooling import NO_POOLING, pooling_of
from jan.engine.backends.llamacpp.rank_head import read_rank_head
from jan.engine.model_trials.gguf_header import read_gguf_header
from jan.engine.prompts.dialects import ReasoningOption, ToolFormatOption
from jan.engine.refusals import reason_of
from jan.errors import ConfigurationError

# Tokens of the context that is made, so that the library plans its computation.
_CONTEXT = 64


def read_first(
    model: str, tool_format: ToolFormatOption, reasoning: ReasoningOption, pooling: PoolingOption
) -> None:
    """Read header, vocabulary and chat template, and plan a computation.

    Raises ConfigurationError for a file that can't be loaded. The library may end the process.
    """
    file = Path(model)
    read_gguf_header(file)
    kind = pooling_of(LlamaCppOptions(model=model, pooling=pooling), file)
    if kind == "rank":
        read_rank_head(file)
    read = GgufModel(file, 0, tool_format=tool_format, reasoning=reasoning, without_weights=True)
    if kind is None:
        _ = read.grammars  # which a model that embeds has no use for
    parameters = llama.LlamaContextParams()
    parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = _CONTEXT
    if kind == "rank":  # whose head is not the library's
        parameters.pooling_type = NO_POOLING
    parameters.n_threads = parameters.n_threads_batch = 1
    try:
        llama.LlamaContext(read.weights, parameters).close()
    except (ValueError, RuntimeError) as error:
        raise ConfigurationError(f"Model file {file} can't be loaded: {reason_of(error)}.") from error
    read.close()

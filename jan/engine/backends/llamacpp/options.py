"""The options of the llama.cpp engine."""

import os
from typing import Annotated, Literal

import msgspec

from jan.engine.backends.llamacpp.gguf_files import BUNDLED
from jan.engine.backends.prefix_sharing import SharePrefixes
from jan.engine.prompts.dialects import ReasoningOption, ToolFormatOption
from jan.engine.prompts.segments import ControlTokensOption

Positive = Annotated[int, msgspec.Meta(ge=1)]
PoolingOption = Literal["auto", "none", "mean", "cls", "last", "rank"]


class LlamaCppOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the llama.cpp engine.

    ``model``: a .gguf file, or ``bundled``.
    ``context``: most tokens of one request, prompt and answer together; at most the model's trained context.
    ``slots``: most requests that run at once.
    ``cache_tokens``: capacity of the key-value cache of all slots together; default ``slots * context``.
    ``threads``: CPU threads; 0 is one for each core.
    ``batch``: most tokens computed in one step.
    ``gpu_layers``: layers on the GPU, for builds of the library that have one.
    ``tool_format``: how the model writes tool calls; ``auto`` reads it from the chat template.
    ``reasoning``: ``auto`` separates reasoning from the content if the chat template shows reasoning.
    ``control_tokens_in_content``: what control tokens are that a message or a tool spells: ``text``, or control
    tokens (``allow``).
    ``share_prefixes``: who may reuse the cache of a prompt's prefix; see ``PrefixSharing``.
    ``pooling``: how a model's vectors of single tokens become one of the text; ``auto`` takes what the file says,
    ``none`` is a model that generates, ``rank`` one that scores pairs of texts. ``matryoshka``: numbers to which
    vectors may be cut, or ``any``.
    """

    model: str = BUNDLED
    context: Positive = 2048
    slots: Annotated[int, msgspec.Meta(ge=1, le=256)] = 8
    cache_tokens: Positive | None = None
    threads: Annotated[int, msgspec.Meta(ge=0)] = 0
    batch: Positive = 256
    gpu_layers: Annotated[int, msgspec.Meta(ge=0)] = 0
    tool_format: ToolFormatOption = "auto"
    reasoning: ReasoningOption = "auto"
    control_tokens_in_content: ControlTokensOption = "text"
    share_prefixes: SharePrefixes = "auto"
    pooling: PoolingOption = "auto"
    matryoshka: list[Positive] | Literal["any"] = []

    @property
    def thread_count(self) -> int:
        """The CPU threads that a step computes on."""
        return self.threads or _cores()


def _cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

"""The settings that both ExLlama engines have."""

from typing import Annotated, Literal

import msgspec

from jan.engine.backends.prefix_sharing import SharePrefixes
from jan.engine.prompts.dialects import ReasoningOption, ToolFormatOption
from jan.engine.prompts.segments import ControlTokensOption

Positive = Annotated[int, msgspec.Meta(ge=1)]
CacheType = Literal["fp16", "q8", "q6", "q4"]


class ExLlamaOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of an ExLlama engine.

    ``model``: a model folder.
    ``context``: most tokens of one request, prompt and answer together.
    ``slots``: most requests that run at once.
    ``cache_tokens``: capacity of the key-value cache of all slots together; default ``slots * context``.
    ``cache_type``: how keys and values are stored.
    ``chunk``: most prompt tokens of one request that are prefilled in one step.
    ``prefills``: most requests in prefill at once.
    ``gpu_split``: GiB to use on each GPU; by default, as much as needed.
    ``draft_model``: a small model with the same vocabulary, for speculative decoding (Leviathan et al. 2023).
    ``ngram_draft``: speculative decoding without a draft model: draft from n-grams of the request itself.
    ``draft_tokens``: tokens that are drafted in each step.
    ``tool_format``: how the model writes tool calls; ``auto`` reads it from the chat template.
    ``reasoning``: ``auto`` separates reasoning from the content if the chat template shows reasoning.
    ``control_tokens_in_content``: what control tokens are that a message or a tool spells: ``text``, or control
    tokens (``allow``).
    ``share_prefixes``: who may reuse the cache of a prompt's prefix; see ``PrefixSharing``.
    """

    model: str
    context: Positive = 4096
    slots: Annotated[int, msgspec.Meta(ge=1, le=256)] = 16
    cache_tokens: Positive | None = None
    cache_type: CacheType = "fp16"
    chunk: Annotated[int, msgspec.Meta(ge=256, multiple_of=256)] = 2048
    prefills: Positive = 4
    gpu_split: tuple[Annotated[float, msgspec.Meta(gt=0)], ...] = ()
    draft_model: str = ""
    ngram_draft: bool = False
    # The libraries' buffers have room for 8 tokens of each request in a step: 7 drafted ones and the last one.
    draft_tokens: Annotated[int, msgspec.Meta(ge=1, le=7)] = 4
    tool_format: ToolFormatOption = "auto"
    reasoning: ReasoningOption = "auto"
    control_tokens_in_content: ControlTokensOption = "text"
    share_prefixes: SharePrefixes = "auto"

    @property
    def drafted_tokens(self) -> int:
        """Tokens that are drafted in each step; 0 without speculative decoding."""
        return self.draft_tokens if self.draft_model or self.ngram_draft else 0

"""What a configuration may say about either ExLlama engine."""

from typing import Annotated, Literal

import msgspec

from jan.engine.prompts.dialects import ReasoningOption, ToolFormatOption

Positive = Annotated[int, msgspec.Meta(ge=1)]
CacheType = Literal["fp16", "q8", "q6", "q4"]


class ExLlamaOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``model``: a folder. ``context``: tokens of one request, prompt and answer. ``slots``: requests at once.
    ``cache_tokens``: tokens of the cache for all of them together (default slots x context), ``cache_type``: how
    they are stored. ``chunk``: tokens of a prompt that are read in one step, ``prefills``: how many prompts are
    read at once at most. ``gpu_split``: GiB of each GPU (default: as it fits). ``draft_model``: a small model of
    the same vocabulary that guesses ``draft_tokens`` ahead, ``ngram_draft``: guess from what the request said
    before. ``tool_format``: how the model writes tool calls; ``reasoning``: whether what it thinks is told apart;
    ``auto`` goes by its chat template. ``share_prefixes``: who may reuse what of a prompt is cached: everybody, or
    its owner alone, so that nobody can find out by timing what others wrote."""

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
    # The libraries' buffers take 8 tokens of each request in a step: the guessed ones and the last one.
    draft_tokens: Annotated[int, msgspec.Meta(ge=1, le=7)] = 4
    tool_format: ToolFormatOption = "auto"
    reasoning: ReasoningOption = "auto"
    share_prefixes: Literal["all", "owner"] = "all"

    @property
    def ahead(self) -> int:
        """Tokens guessed ahead in each step."""
        return self.draft_tokens if self.draft_model or self.ngram_draft else 0

"""POST /responses/compact: the request and the answer, as in OpenAI's reference of responses."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from jan.schema.parameters import RequestedTier
from jan.schema.responses import PromptOfResponse, ResponseUsage


class CompactionRequest(PromptOfResponse, kw_only=True):
    """Body of a request for a shorter conversation."""

    prompt_cache_key: Annotated[str, Meta(max_length=512)] | None = None
    prompt_cache_retention: str | None = None
    service_tier: RequestedTier | None = None


class CompactedConversation(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation in short. ``output``: the messages of the user, and a summary of everything else."""

    id: str
    object: Literal["response.compaction"] = "response.compaction"
    created_at: int
    output: list[dict[str, Any]]
    usage: ResponseUsage

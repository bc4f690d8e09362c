"""What the two completion endpoints share: from wire parameters to engine requests, and counting usage."""

from types import MappingProxyType

from msgspec import UNSET, UnsetType

from jan.engine.base import Finished, Priority, Sampling
from jan.errors import InvalidRequest
from jan.schema.sampling import CompletionTokensDetails, PromptTokensDetails, SamplingFields, ServiceTier, Usage
from jan.schema.scopes import Identity

_PRIORITIES = MappingProxyType[ServiceTier, Priority]({"default": "normal", "flex": "low", "priority": "high"})


def sampling_of(body: SamplingFields, choice: int) -> Sampling:
    """The sampling parameters of one choice; with a seed each choice has its own, still reproducible."""
    chosen = {
        name: value for name in Sampling.__struct_fields__ if (value := getattr(body, name, None)) is not None
    }
    if body.seed is not None:
        chosen["seed"] = body.seed + choice
    return Sampling(**chosen)


def tier_of(body: SamplingFields, identity: Identity) -> ServiceTier:
    """The tier that a request is served in: what it asks for, if this caller may have it."""
    if body.service_tier == "flex":
        return "flex"
    return "priority" if body.service_tier == "priority" and "admin" in identity.scopes else "default"


def told_tier(body: SamplingFields, identity: Identity) -> ServiceTier | UnsetType:
    """The same, for the answer to a request that asked."""
    return UNSET if body.service_tier is None else tier_of(body, identity)


def priority_of(body: SamplingFields, identity: Identity) -> Priority:
    """The class in which a request waits."""
    return _PRIORITIES[tier_of(body, identity)]


def stop_of(body: SamplingFields) -> tuple[str, ...]:
    """The stop strings as a tuple."""
    if body.stop is None:
        return ()
    return (body.stop,) if isinstance(body.stop, str) else tuple(body.stop)


def wants_usage(body: SamplingFields) -> bool:
    """Whether a stream ends with a usage chunk; raises InvalidRequest for options without a stream."""
    if body.stream_options is not None and not body.stream:
        raise InvalidRequest("stream_options may only be given when stream is true", param="stream_options")
    return body.stream_options is not None and body.stream_options.include_usage


class UsageCounter:
    """Adds up the token counts of a request's choices. Choices of one prompt count its tokens once."""

    def __init__(self, choices_per_prompt: int) -> None:
        self._per_prompt = choices_per_prompt
        self._prompt = self._completion = self._cached = self._reasoning = 0

    def add(self, index: int, event: Finished) -> None:
        """A choice came to its end."""
        self._completion += event.completion_tokens
        self._reasoning += event.reasoning_tokens
        if index % self._per_prompt == 0:
            self._prompt += event.prompt_tokens
            self._cached += event.cached_tokens

    @property
    def usage(self) -> Usage:
        """The sum."""
        return Usage(
            prompt_tokens=self._prompt,
            completion_tokens=self._completion,
            total_tokens=self._prompt + self._completion,
            prompt_tokens_details=PromptTokensDetails(cached_tokens=self._cached),
            completion_tokens_details=(
                CompletionTokensDetails(reasoning_tokens=self._reasoning) if self._reasoning else UNSET
            ),
        )

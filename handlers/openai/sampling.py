"""What the two completion endpoints share: from wire parameters to engine requests."""

from types import MappingProxyType

from msgspec import UNSET, UnsetType

from jan.engine.base import Priority, Sampling
from jan.errors import InvalidRequest
from jan.schema.sampling import SamplingFields, ServiceTier
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

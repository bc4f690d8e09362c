"""Turns the parameters that both completion endpoints share into requests to the engine."""

from types import MappingProxyType

from msgspec import UNSET, UnsetType

from jan.engine.base import Priority, Sampling
from jan.errors import InvalidRequest
from jan.schema.sampling import SamplingFields, ServiceTier
from jan.schema.scopes import Identity

_PRIORITIES = MappingProxyType[ServiceTier, Priority]({"default": "normal", "flex": "low", "priority": "high"})


def sampling_of(body: SamplingFields, choice: int) -> Sampling:
    """Return the sampling parameters of one choice. With a seed, each choice has its own reproducible seed."""
    chosen = {
        name: value for name in Sampling.__struct_fields__ if (value := getattr(body, name, None)) is not None
    }
    if body.seed is not None:
        chosen["seed"] = body.seed + choice
    return Sampling(**chosen)


def tier_of(body: SamplingFields, identity: Identity) -> ServiceTier:
    """Return the tier that a request is served in: the requested one, if this caller may have it."""
    if body.service_tier == "flex":
        return "flex"
    return "priority" if body.service_tier == "priority" and "admin" in identity.scopes else "default"


def answered_tier(body: SamplingFields, identity: Identity) -> ServiceTier | UnsetType:
    """Return the tier for the answer, if the request asked for one."""
    return UNSET if body.service_tier is None else tier_of(body, identity)


def priority_of(body: SamplingFields, identity: Identity) -> Priority:
    """Return the priority class in which a request waits."""
    return _PRIORITIES[tier_of(body, identity)]


def stop_of(body: SamplingFields) -> tuple[str, ...]:
    """Return the stop strings as a tuple."""
    if body.stop is None:
        return ()
    return (body.stop,) if isinstance(body.stop, str) else tuple(body.stop)


def wants_usage(body: SamplingFields) -> bool:
    """Return True if a stream ends with a usage chunk. Raises InvalidRequest for options without a stream."""
    if body.stream_options is not None and not body.stream:
        raise InvalidRequest("stream_options: Not allowed unless stream is true.", param="stream_options")
    return body.stream_options is not None and body.stream_options.include_usage

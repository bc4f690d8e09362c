"""Turns the parameters that both completion endpoints share into requests to the engine."""

import secrets
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from msgspec import UNSET, UnsetType

from jan.engine.base import Priority, Sampling
from jan.errors import InvalidRequest
from jan.schema.parameters import SamplingFields
from jan.schema.sampling import ServiceTier
from jan.schema.scopes import Identity

_PRIORITIES = MappingProxyType[ServiceTier, Priority]({"default": "normal", "flex": "low", "priority": "high"})
# Fields of Sampling that a body has by the same name and with the same meaning.
_SAME = frozenset(Sampling.__struct_fields__) - {
    "logit_bias",
    "seed",
    "top_k",
    "top_n_sigma",
    "mirostat",
    "repeat_last_n",
    "dry_base",
    "dry_sequence_breakers",
}
# A ban is a bias that no logit outweighs. It is finite, so that an output format that leaves nothing else wins.
_BAN = -1000.0
_LARGEST_BIAS = 100
_LARGEST_TOKEN = 2**31 - 1
# The most keys that an error message repeats.
_KEYS_NAMED = 5
# Ways to choose a token that Mirostat replaces, each with the value that is off.
_REPLACED = MappingProxyType(
    {
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "typical_p": 1.0,
        "top_n_sigma": 0.0,
        "xtc_probability": 0.0,
        "dynatemp_range": 0.0,
        "dry_multiplier": 0.0,
    }
)


def samplings_of(body: SamplingFields, choices: int) -> list[Sampling]:
    """Return the sampling parameters of each choice. With a seed, each has its own reproducible seed.

    Raises InvalidRequest for parameters that contradict each other.
    """
    chosen: dict[str, Any] = {name: value for name in _SAME if (value := getattr(body, name)) is not None}
    chosen["logit_bias"] = _biases(body)
    for name in ("top_k", "top_n_sigma"):
        if (value := getattr(body, name)) is not None:
            chosen[name] = max(value, 0)
    if body.mirostat is not None:
        chosen["mirostat"] = 2 if body.mirostat is True else int(body.mirostat)
    if body.repeat_last_n is not None and body.repeat_last_n >= 0:
        chosen["repeat_last_n"] = body.repeat_last_n
    _add_dry(body, chosen)
    _add_dynamic_temperature(body, chosen)
    _check_mirostat(chosen)
    seeds = [None if body.seed is None else body.seed + choice for choice in range(choices)]
    return [Sampling(**chosen, seed=seed) for seed in seeds]


def _add_dry(body: SamplingFields, chosen: dict[str, Any]) -> None:
    if body.dry_base is not None and body.dry_base >= 1:
        chosen["dry_base"] = body.dry_base
    if body.dry_sequence_breakers is not None:
        chosen["dry_sequence_breakers"] = tuple(filter(None, body.dry_sequence_breakers))
    if body.dry_range:
        if body.dry_penalty_last_n not in (None, body.dry_range):
            raise refused("dry_range", "It is another name of dry_penalty_last_n, which has another value.")
        chosen["dry_penalty_last_n"] = body.dry_range


def _add_dynamic_temperature(body: SamplingFields, chosen: dict[str, Any]) -> None:
    least, most = (1.0 if value is None else value for value in (body.min_temp, body.max_temp))
    if least > most:
        raise refused("min_temp", f"Must be at most max_temp, which is {most:g}.")
    if least < most:
        if body.dynatemp_range:
            raise refused("dynatemp_range", "Not allowed together with min_temp and max_temp.")
        chosen["temperature"], chosen["dynatemp_range"] = (least + most) / 2, (most - least) / 2


def _check_mirostat(chosen: Mapping[str, Any]) -> None:
    """Refuse what Mirostat would not use. Raises InvalidRequest."""
    if chosen.get("mirostat"):
        for name, off in _REPLACED.items():
            if chosen.get(name, off) != off:
                raise refused(name, "Not allowed together with mirostat, which chooses tokens in its own way.")


def _biases(body: SamplingFields) -> dict[int, float]:
    """Return the bias of tokens by id, with those of banned tokens. Raises InvalidRequest that names a bad key."""
    biases, wrong = {}, [key for key in body.logit_bias or () if not _is_token(key)]
    if wrong:
        keys = ", ".join(f"'{key[:50]}'" for key in wrong[:_KEYS_NAMED])
        raise refused("logit_bias", f"No token ids: {keys}; allowed as keys: 0 to {_LARGEST_TOKEN}.")
    for key, bias in (body.logit_bias or {}).items():
        if not -_LARGEST_BIAS <= bias <= _LARGEST_BIAS:
            raise refused("logit_bias", f"The bias of '{key}' is {bias:g}; allowed: -100 to 100.")
        if int(key) in biases:
            twice = ", ".join(f"'{one}'" for one in body.logit_bias or () if int(one) == int(key))
            raise refused("logit_bias", f"The keys {twice[:100]} are one token id; allowed: one of them.")
        biases[int(key)] = bias
    return biases | dict.fromkeys(_banned(body), _BAN)


def _is_token(key: str) -> bool:
    """Return True if a text can be a token's id."""
    return key.isascii() and key.isdigit() and len(key) <= 10 and int(key) <= _LARGEST_TOKEN


def _banned(body: SamplingFields) -> list[int]:
    banned = body.banned_tokens
    if not isinstance(banned, str):
        return banned or []
    parts = [part.strip() for part in banned.split(",") if part.strip()]
    for part in parts:
        if not _is_token(part):
            raise refused("banned_tokens", f"'{part[:50]}' is not a token id; allowed: ids, separated by commas.")
    return [int(part) for part in parts]


def common_of(body: SamplingFields) -> dict[str, Any]:
    """Return the fields of an engine's request that are the same for all choices, but for those of sampling."""
    if body.min_tokens and 0 <= (limit := getattr(body, "max_tokens", None) or -1) < body.min_tokens:
        raise refused("min_tokens", f"Must be at most max_tokens, which is {limit}.")
    if body.truncate_prompt_tokens == 0:
        raise refused("truncate_prompt_tokens", "Of 0 tokens nothing is left; allowed: -1, or from 1 on.")
    return {
        "stop": _stop_of(body),
        "stop_tokens": tuple(body.stop_token_ids or ()),
        "include_stop": bool(body.include_stop_str_in_output),
        "ignore_eos": bool(body.ignore_eos),
        "min_tokens": body.min_tokens or 0,
        "bad_words": tuple(body.bad_words or ()),
        "allowed_tokens": tuple(body.allowed_token_ids or ()),
        "prompt_logprobs": body.prompt_logprobs,
        "token_ids": bool(body.return_token_ids or body.return_tokens_as_token_ids),
        "truncate": body.truncate_prompt_tokens,
        "truncate_end": body.truncation_side == "right",
        "skip_special": bool(body.skip_special_tokens),
        "cache_salt": secrets.token_hex(8) if body.cache_prompt is False else body.cache_salt or "",
    }


def limit_of(limit: int | None) -> int | None:
    """Return the most tokens of an answer; None for no limit of the request's own, which is also -1."""
    return None if limit == -1 else limit


def tier_of(body: SamplingFields, identity: Identity) -> ServiceTier:
    """Return the tier that a request is served in: the requested one, if this caller may have it."""
    if body.service_tier == "flex":
        return "flex"
    return "priority" if body.service_tier == "priority" and "admin" in identity.scopes else "default"


def answered_tier(body: SamplingFields, identity: Identity) -> ServiceTier | UnsetType:
    """Return the tier for the answer, if the request asked for one."""
    return UNSET if body.service_tier is None else tier_of(body, identity)


def priority_of(body: SamplingFields, identity: Identity) -> Priority:
    """Return the class in which a request waits. Raises InvalidRequest for a priority that is not the caller's."""
    if not body.priority:
        return _PRIORITIES[tier_of(body, identity)]
    if body.priority > 0:
        return "low"
    if "admin" not in identity.scopes:
        raise refused("priority", "Only administrators may send a number below 0.")
    return "high"


def _stop_of(body: SamplingFields) -> tuple[str, ...]:
    if body.stop is None:
        return ()
    return (body.stop,) if isinstance(body.stop, str) else tuple(body.stop)


def wants_usage(body: SamplingFields) -> bool:
    """Return True if a stream ends with a usage chunk. Raises InvalidRequest for options without a stream."""
    if body.stream_options is not None and not body.stream:
        raise InvalidRequest("stream_options: Not allowed unless stream is true.", param="stream_options")
    return body.stream_options is not None and bool(body.stream_options.include_usage)


def wants_blocks(body: SamplingFields) -> bool:
    """Return True if a stream has the blocks of its text as HTML."""
    return body.stream_options is not None and bool(body.stream_options.include_html)


def refused(param: str, reason: str, *, code: str = "invalid_value") -> InvalidRequest:
    """Return the error for a parameter; ``reason``: a sentence."""
    return InvalidRequest(f"{param}: {reason}", code=code, param=param)

"""Limits as clients are told of them: headers, and the words of a refusal."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType

from jan.errors import RateLimited, when_to_retry
from jan.limits.windows import Standing, Window, tightest

# SDKs wait as long as they are told up to a minute; of a longer wait some make seconds.
_LONGEST_RETRY_MS = 60_000
_PERIODS = ((86_400, "a day"), (3600, "an hour"), (60, "a minute"), (1, "a second"))

Header = tuple[str, str]

#: For the OpenAPI document: the headers of responses to limited requests, and those of refusals beside them.
LIMIT_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "X-RateLimit-Limit": "Requests within the window of time that has the fewest left",
        "X-RateLimit-Remaining": "Requests left in it",
        "X-RateLimit-Reset": "When it begins anew, in seconds since 1970",
        "x-ratelimit-limit-requests": "The same limit, as OpenAI names it",
        "x-ratelimit-remaining-requests": "Requests left in it",
        "x-ratelimit-reset-requests": "How long until it begins anew, like 6m0s or 12ms",
        "x-ratelimit-limit-tokens": "Tokens within the budget that has the fewest left, if there is one",
        "x-ratelimit-remaining-tokens": "Tokens left in it",
        "x-ratelimit-reset-tokens": "How long until it begins anew",
    }
)
RETRY_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "retry-after": "Seconds to wait before the next attempt",
        "retry-after-ms": "The same in milliseconds",
        "x-should-retry": "Whether a client should try again by itself: true for a wait of less than a minute",
    }
)


def request_headers(standings: Sequence[Standing], now: int) -> tuple[Header, ...]:
    """Of the window with the fewest requests left: in the reference's form and in OpenAI's."""
    found = tightest(standings)
    if found is None:
        return ()
    return (
        ("X-RateLimit-Limit", str(found.window.limit)),
        ("X-RateLimit-Remaining", str(found.remaining)),
        ("X-RateLimit-Reset", str(math.ceil(found.counter.ends_at / 1000))),
        *_openai_headers(found, now),
    )


def token_headers(standings: Sequence[Standing], now: int) -> tuple[Header, ...]:
    """Of the window with the fewest tokens left, in OpenAI's form."""
    found = tightest(standings)
    return () if found is None else _openai_headers(found, now)


def _openai_headers(standing: Standing, now: int) -> tuple[Header, ...]:
    unit = standing.window.unit
    return (
        (f"x-ratelimit-limit-{unit}", str(standing.window.limit)),
        (f"x-ratelimit-remaining-{unit}", str(standing.remaining)),
        (f"x-ratelimit-reset-{unit}", duration(standing.counter.ends_at - now)),
    )


def duration(milliseconds: int) -> str:
    """A time as OpenAI writes it: 12ms, 1.5s, 6m0s, 1h0m5s."""
    milliseconds = max(0, milliseconds)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:g}s"
    minutes, seconds = divmod(math.ceil(milliseconds / 1000), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{seconds}s" if hours else f"{minutes}m{seconds}s"


def refusal(standing: Standing, cost: int, left: int, now: int) -> RateLimited:
    """The answer to a request that wants ``cost`` where ``left`` are left: which limit, until when."""
    window, wait = standing.window, max(1, standing.counter.ends_at - now)
    ends = datetime.fromtimestamp(math.ceil(standing.counter.ends_at / 1000), UTC)
    state = "it is used up"
    if left:
        state = f"{left} are left, fewer than the {cost} that this request may take"
    return RateLimited(
        f"the limit '{window.name}' is {_words(window)}, and {state}; it begins anew in {duration(wait)}, at "
        f"{ends:%Y-%m-%dT%H:%M:%SZ}",
        headers=when_to_retry(wait, by_itself=wait < _LONGEST_RETRY_MS),
    )


def exceeds_whole_window(window: Window, tokens: int) -> RateLimited:
    """The answer to a request that asks for more than a whole window has: it is of no use to try again."""
    return RateLimited(
        f"this request may take {tokens} tokens, prompt and answer together; the limit '{window.name}' is "
        f"{_words(window)}, so it can never be served: shorten the prompt or lower max_tokens",
        headers={"x-should-retry": "false"},
    )


def _words(window: Window) -> str:
    period = dict(_PERIODS).get(window.seconds, f"in {window.seconds} seconds")
    return f"{window.limit} {window.unit} {period} for {window.whose}"

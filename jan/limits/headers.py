"""Reports limits to clients: headers, and the messages of refusals."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType

from jan.errors import RateLimited, retry_headers
from jan.limits.windows import Standing, Window, tightest

# SDKs wait for as long as they are told, up to a minute. Some shorten a longer wait to seconds.
_LONGEST_RETRY_MS = 60_000
_PERIODS = ((86_400, "a day"), (3600, "an hour"), (60, "a minute"), (1, "a second"))

Header = tuple[str, str]

#: Headers for the OpenAPI document: of responses to limited requests, and of refusals.
LIMIT_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "X-RateLimit-Limit": "Limit of requests in the window of time that has the fewest left",
        "X-RateLimit-Remaining": "Requests left in this window",
        "X-RateLimit-Reset": "End of this window in seconds since 1970",
        "x-ratelimit-limit-requests": "The same limit under OpenAI's name",
        "x-ratelimit-remaining-requests": "Requests left in this window",
        "x-ratelimit-reset-requests": "Time until the window ends, such as 6m0s or 12ms",
        "x-ratelimit-limit-tokens": "Token budget with the fewest tokens left, if there is a budget",
        "x-ratelimit-remaining-tokens": "Tokens left in this budget",
        "x-ratelimit-reset-tokens": "Time until the budget's window ends",
    }
)
RETRY_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "retry-after": "Seconds to wait before the next attempt",
        "retry-after-ms": "The same in milliseconds",
        "x-should-retry": "true if a client should retry by itself, which means a wait of less than a minute",
    }
)


def request_headers(standings: Sequence[Standing], now: int) -> tuple[Header, ...]:
    """Make the headers of the window with the fewest requests left, under the usual names and OpenAI's."""
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
    """Make the headers of the window with the fewest tokens left, under OpenAI's names."""
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
    """Format a time as OpenAI does: 12ms, 1.5s, 6m0s, 1h0m5s."""
    milliseconds = max(0, milliseconds)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:g}s"
    minutes, seconds = divmod(math.ceil(milliseconds / 1000), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{seconds}s" if hours else f"{minutes}m{seconds}s"


def limit_exceeded(standing: Standing, cost: int, left: int, now: int) -> RateLimited:
    """Make the error for a request that needs ``cost`` where only ``left`` remain."""
    window, wait = standing.window, max(1, standing.counter.ends_at - now)
    ends = datetime.fromtimestamp(math.ceil(standing.counter.ends_at / 1000), UTC)
    state = "it is used up"
    if left:
        state = f"{left} are left, fewer than the {cost} that this request may take"
    return RateLimited(
        f"The limit '{window.name}' is {_words(window)}, and {state}. It resets in {duration(wait)}, at "
        f"{ends:%Y-%m-%dT%H:%M:%SZ}.",
        headers=retry_headers(wait, by_itself=wait < _LONGEST_RETRY_MS),
    )


def exceeds_whole_window(window: Window, tokens: int) -> RateLimited:
    """Make the error for a request that needs more than a whole window has, so that retrying is pointless."""
    return RateLimited(
        f"This request may take {tokens} tokens, prompt and answer together. The limit '{window.name}' is "
        f"{_words(window)}, so it can never be served. Shorten the prompt or lower max_tokens.",
        headers={"x-should-retry": "false"},
    )


def _words(window: Window) -> str:
    period = dict(_PERIODS).get(window.seconds, f"in {window.seconds} seconds")
    return f"{window.limit} {window.unit} {period} for {window.whose}"

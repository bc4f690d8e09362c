"""Limits as they are reported to clients."""

import pytest

from jan.limits.headers import duration, exceeds_whole_window, limit_exceeded, request_headers, token_headers
from jan.limits.windows import Standing, Window, Windows
from jan.schema.limits import TokenBudget
from jan.schema.scopes import Identity
from jan.settings.limits import LimitSettings
from jan.storage.accounting import Counter

NOW = 1_700_000_000_500
USER = Identity(owner="user_1", user_id="user_1")


def standing(limit: int, used: int, wait: int, seconds: int = 60, unit: str = "requests") -> Standing:
    window = Window(
        name="inference",
        key="k",
        limit=limit,
        seconds=seconds,
        unit="tokens" if unit == "tokens" else "requests",
        whose="this user",
        stranger=False,
    )
    return Standing(window, Counter(key="k", used=used, ends_at=NOW + wait))


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (-5, "0ms"),
        (0, "0ms"),
        (12, "12ms"),
        (999, "999ms"),
        (1000, "1s"),
        (1500, "1.5s"),
        (59_995, "59.995s"),
        (60_000, "1m0s"),
        (360_000, "6m0s"),
        (359_001, "6m0s"),
        (3_600_000, "1h0m0s"),
        (86_400_000, "24h0m0s"),
    ],
)
def test_durations_are_openais(milliseconds: int, text: str) -> None:
    """In the form of OpenAI's headers; never less than there is to wait."""
    assert duration(milliseconds) == text


def test_headers_tell_of_the_window_with_the_fewest_left() -> None:
    """In the reference's form, with seconds since 1970, and in OpenAI's."""
    found = dict(request_headers([standing(1000, 1, 3_600_000, 3600), standing(60, 58, 1500)], NOW))
    assert found == {
        "X-RateLimit-Limit": "60",
        "X-RateLimit-Remaining": "2",
        "X-RateLimit-Reset": "1700000002",
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "2",
        "x-ratelimit-reset-requests": "1.5s",
    }
    assert request_headers([], NOW) == ()


def test_tokens_that_were_used_beyond_a_budget_leave_none() -> None:
    """Never a negative number."""
    found = dict(token_headers([standing(100, 130, 6000, unit="tokens")], NOW))
    assert found == {
        "x-ratelimit-limit-tokens": "100",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "6s",
    }


@pytest.mark.parametrize(
    ("wait", "headers"),
    [
        (1, {"Retry-After": "1", "retry-after-ms": "1", "x-should-retry": "true"}),
        (1001, {"Retry-After": "2", "retry-after-ms": "1001", "x-should-retry": "true"}),
        (59_999, {"Retry-After": "60", "retry-after-ms": "59999", "x-should-retry": "true"}),
        # Node's SDK would try again within seconds.
        (60_000, {"Retry-After": "60", "retry-after-ms": "60000", "x-should-retry": "false"}),
        (3_600_000, {"Retry-After": "3600", "retry-after-ms": "3600000", "x-should-retry": "false"}),
        (-3, {"Retry-After": "1", "retry-after-ms": "1", "x-should-retry": "true"}),
    ],
)
def test_a_refusal_says_when_to_come_again(wait: int, headers: dict[str, str]) -> None:
    """Whole seconds are rounded up; SDKs try again by themselves where they would wait as long as that."""
    error = limit_exceeded(standing(60, 60, wait), 1, 0, NOW)
    assert error.headers == headers


def test_a_refusal_says_which_limit_for_whom_and_until_when() -> None:
    """The message says which limit is exceeded, for whom and until when."""
    assert limit_exceeded(standing(60, 60, 30_000), 1, 0, NOW).message == (
        "The limit 'inference' is 60 requests a minute for this user, and it is used up. It resets in 30s, "
        "at 2023-11-14T22:13:51Z."
    )
    some = limit_exceeded(standing(100, 90, 30_000, unit="tokens"), 50, 10, NOW).message
    assert "10 are left, fewer than the 50 that this request may take" in some


def test_a_request_beyond_a_whole_budget_is_told_that_waiting_is_no_use() -> None:
    """No time to wait is named, and no SDK tries again."""
    error = exceeds_whole_window(standing(100, 0, 1, unit="tokens").window, 150)
    assert error.headers == {"x-should-retry": "false"}
    assert "150 tokens" in error.message
    assert "can never be served" in error.message


def test_the_references_numbers_are_the_default() -> None:
    """1000 an hour a user, 100 an hour an address, 60 a minute to the models, for either."""
    windows = Windows(LimitSettings())

    def numbers(identity: Identity) -> list[tuple[str, int, int]]:
        return [(w.key, w.limit, w.seconds) for w in windows.of_requests(identity, "inference")]

    assert numbers(USER) == [("authenticated:user_1", 1000, 3600), ("inference:user_1", 60, 60)]
    assert numbers(Identity(owner="ip:::1")) == [("anonymous:ip:::1", 100, 3600), ("inference:ip:::1", 60, 60)]
    assert [w.name for w in windows.of_requests(USER, "default")] == ["authenticated"]
    assert windows.of_tokens(USER) == ()


def test_budgets_of_user_and_key() -> None:
    """Budgets of user and key take precedence over the configured ones. Both apply."""
    windows = Windows(LimitSettings(user=TokenBudget(tokens_per_day=10), key=TokenBudget(tokens_per_minute=3)))
    caller = Identity(
        owner="user_1", user_id="user_1", key_id="key_1", budget=TokenBudget(tokens_per_day=7, tokens_per_minute=5)
    )
    assert [(w.key, w.limit, w.seconds) for w in windows.of_tokens(caller)] == [
        ("user_tokens_per_minute:user_1", 5, 60),
        ("user_tokens_per_day:user_1", 7, 86_400),
        ("key_tokens_per_minute:key_1", 3, 60),
    ]
    assert [w.limit for w in windows.of_tokens(Identity(owner="ip:::1"))] == [10]

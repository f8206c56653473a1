"""Rate limits per account: a burst at once, the rate in the long run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth.accounts import Account
from gateway.auth.rate_limit import RateLimiter

ACME = Account("acme", rate=10, burst=3)


def test_account_without_a_rate_is_unlimited() -> None:
    limiter = RateLimiter()
    assert not any(limiter.retry_after(Account("acme"), 0.0) for _ in range(10_000))


def test_retry_after_is_returned_once_burst_is_used() -> None:
    limiter = RateLimiter()
    assert [limiter.retry_after(ACME, 5.0) for _ in range(3)] == [0, 0, 0]
    assert limiter.retry_after(ACME, 5.0) == pytest.approx(0.1)
    assert limiter.retry_after(ACME, 5.06) == pytest.approx(0.04)
    assert limiter.retry_after(ACME, 5.101) == 0


def test_accounts_are_limited_separately() -> None:
    limiter = RateLimiter()
    for _ in range(3):
        limiter.retry_after(ACME, 0.0)
    assert limiter.retry_after(Account("umbrella", rate=10, burst=3), 0.0) == 0


def test_only_a_changed_limit_resets_the_bucket() -> None:
    limiter = RateLimiter()
    for _ in range(3):
        limiter.retry_after(ACME, 0.0)
    assert limiter.retry_after(Account("acme", rate=10, burst=3), 0.0) > 0
    assert limiter.retry_after(Account("acme", rate=10, burst=4), 0.0) == 0


@given(st.lists(st.floats(0, 2), max_size=300), st.integers(1, 20), st.floats(0.1, 100))
def test_never_more_than_the_burst_and_the_rate(steps: list[float], burst: int, rate: float) -> None:
    limiter, account = RateLimiter(), Account("acme", rate=rate, burst=burst)
    now, admitted = 0.0, 0
    for step in steps:
        now += step
        admitted += limiter.retry_after(account, now) == 0
        assert admitted <= burst + now * rate + 1e-6

"""How much an account may post: a burst at once, its rate in the long run, and nobody else's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth.accounts import Account
from gateway.auth.rate_limit import RateLimiter

ACME = Account("acme", rate=10, burst=3)


def test_without_a_rate_as_many_as_come() -> None:
    rates = RateLimiter()
    assert not any(rates.wait(Account("acme"), 0.0) for _ in range(10_000))


def test_after_the_burst_one_is_told_how_long_to_wait() -> None:
    rates = RateLimiter()
    assert [rates.wait(ACME, 5.0) for _ in range(3)] == [0, 0, 0]
    assert rates.wait(ACME, 5.0) == pytest.approx(0.1)
    assert rates.wait(ACME, 5.06) == pytest.approx(0.04)
    assert rates.wait(ACME, 5.101) == 0


def test_each_account_has_its_own() -> None:
    rates = RateLimiter()
    for _ in range(3):
        rates.wait(ACME, 0.0)
    assert rates.wait(Account("umbrella", rate=10, burst=3), 0.0) == 0


def test_a_changed_rate_begins_anew_and_the_same_one_goes_on() -> None:
    rates = RateLimiter()
    for _ in range(3):
        rates.wait(ACME, 0.0)
    assert rates.wait(Account("acme", rate=10, burst=3), 0.0) > 0
    assert rates.wait(Account("acme", rate=10, burst=4), 0.0) == 0


@given(st.lists(st.floats(0, 2), max_size=300), st.integers(1, 20), st.floats(0.1, 100))
def test_never_more_than_the_burst_and_the_rate(steps: list[float], burst: int, rate: float) -> None:
    rates, account = RateLimiter(), Account("acme", rate=rate, burst=burst)
    now, passed = 0.0, 0
    for step in steps:
        now += step
        passed += rates.wait(account, now) == 0
        assert passed <= burst + now * rate + 1e-6

"""Repeated messages of a library are logged a few times, then counted; token buckets."""

from __future__ import annotations

import logging

from runtime.log_filters import BURST, INTERVAL, MAX_MESSAGES, RateLimitFilter
from runtime.token_bucket import TokenBucket


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def logged(limiter: RateLimitFilter, name: str, template: str, *values: object) -> str | None:
    """The message as it is logged; None if it is suppressed."""
    record = logging.LogRecord(name, logging.WARNING, __file__, 1, template, values, None)
    return record.getMessage() if limiter.filter(record) else None


def test_burst_passes_then_one_message_per_interval_with_count() -> None:
    clock = Clock()
    limiter = RateLimitFilter({"aiokafka"}, clock)
    messages = [logged(limiter, "aiokafka.conn", "No answer from %s", node) for node in range(1000)]
    assert messages[:BURST] == [f"No answer from {node}" for node in range(BURST)]
    assert not any(messages[BURST:])
    clock.now = INTERVAL
    assert logged(limiter, "aiokafka.conn", "No answer from %s", 7) == (
        f"No answer from 7 ({1000 - BURST} similar suppressed)"
    )
    assert logged(limiter, "aiokafka.conn", "No answer from %s", 7) is None


def test_repeated_message_does_not_suppress_others() -> None:
    limiter = RateLimitFilter({"aiokafka"}, Clock())
    for _ in range(100):
        logged(limiter, "aiokafka.conn", "No answer")
    assert logged(limiter, "aiokafka.conn", "Group rebalanced")
    assert logged(limiter, "aiokafka.producer", "No answer")


def test_own_loggers_are_not_limited() -> None:
    limiter = RateLimitFilter({"aiokafka"}, Clock())
    assert all(logged(limiter, "streams.state.table", "Not acknowledged yet") for _ in range(100))


def test_preformatted_messages_use_bounded_memory() -> None:
    limiter = RateLimitFilter({"aiokafka"}, Clock())
    for n in range(10 * MAX_MESSAGES):
        logged(limiter, "aiokafka.conn", f"No answer from {n}")
    assert len(limiter._buckets) == MAX_MESSAGES


def test_bucket_never_holds_more_than_its_burst() -> None:
    bucket = TokenBucket(2, 1.0, now=0)
    assert [bucket.acquire(1_000_000) for _ in range(3)] == [True, True, False]

"""A library that says the same thing a thousand times is heard a few times, and counted."""

from __future__ import annotations

import logging

from runtime.flood import BURST, MAX_LINES, SECONDS_EACH, RateLimitFilter
from runtime.token_bucket import TokenBucket


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def heard(flood: RateLimitFilter, name: str, template: str, *values: object) -> str | None:
    """The line as it comes out, if it does."""
    record = logging.LogRecord(name, logging.WARNING, __file__, 1, template, values, None)
    return record.getMessage() if flood.filter(record) else None


def test_a_few_lines_pass_at_once_then_one_every_few_seconds_that_tells_how_many_were_left_out() -> None:
    clock = Clock()
    flood = RateLimitFilter({"aiokafka"}, clock)
    said = [heard(flood, "aiokafka.conn", "No answer from %s", node) for node in range(1000)]
    assert said[:BURST] == [f"No answer from {node}" for node in range(BURST)]
    assert not any(said[BURST:])
    clock.now = SECONDS_EACH
    assert heard(flood, "aiokafka.conn", "No answer from %s", 7) == (
        f"No answer from 7 ({1000 - BURST} like this one left out)"
    )
    assert heard(flood, "aiokafka.conn", "No answer from %s", 7) is None


def test_a_flood_of_one_line_holds_back_no_other() -> None:
    flood = RateLimitFilter({"aiokafka"}, Clock())
    for _ in range(100):
        heard(flood, "aiokafka.conn", "No answer")
    assert heard(flood, "aiokafka.conn", "Group rebalanced")
    assert heard(flood, "aiokafka.producer", "No answer")


def test_our_own_lines_always_pass() -> None:
    flood = RateLimitFilter({"aiokafka"}, Clock())
    assert all(heard(flood, "streams.state.table", "Not acknowledged yet") for _ in range(100))


def test_a_library_that_formats_its_lines_itself_does_not_fill_the_memory() -> None:
    flood = RateLimitFilter({"aiokafka"}, Clock())
    for n in range(10 * MAX_LINES):
        heard(flood, "aiokafka.conn", f"No answer from {n}")
    assert len(flood._buckets) == MAX_LINES


def test_a_bucket_never_holds_more_than_its_burst() -> None:
    bucket = TokenBucket(2, 1.0, now=0)
    assert [bucket.take(1_000_000) for _ in range(3)] == [True, True, False]

"""Lag, and the time up to which all input is merged."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from runtime.kafka.consumer_group import TopicPartition
from streams.watermark import Watermark, lags

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
SENT, RECEIPT, OTHER = TopicPartition("sent", 0), TopicPartition("receipt", 0), TopicPartition("sent", 1)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_lag_is_never_negative() -> None:
    assert lags({SENT: 10, RECEIPT: 3}, {SENT: 4, RECEIPT: 7}) == {SENT: 6, RECEIPT: 0}


def test_watermark_is_now_once_all_is_merged() -> None:
    watermark = Watermark()
    watermark.observe(NOON, {SENT: 5, RECEIPT: 0}, {SENT: 5, RECEIPT: 0})
    assert watermark.of(0) == NOON


def test_watermark_waits_for_all_topics() -> None:
    watermark = Watermark()
    watermark.observe(NOON, {SENT: 5, RECEIPT: 1}, {SENT: 5, RECEIPT: 0})
    assert watermark.of(0) is None


def test_watermark_follows_under_constant_load() -> None:
    watermark = Watermark()
    watermark.observe(NOON, {SENT: 100}, {SENT: 40})
    watermark.observe(after(1), {SENT: 200}, {SENT: 99})
    assert watermark.of(0) is None
    watermark.observe(after(2), {SENT: 300}, {SENT: 150})
    assert watermark.of(0) == NOON, "all that Kafka had at noon is merged"
    watermark.observe(after(3), {SENT: 400}, {SENT: 250})
    watermark.observe(after(4), {SENT: 500}, {SENT: 450})
    assert watermark.of(0) == after(3)


def test_partitions_have_separate_watermarks_until_reset() -> None:
    watermark = Watermark()
    watermark.observe(NOON, {SENT: 5, OTHER: 6}, {SENT: 5, OTHER: 5})
    assert (watermark.of(0), watermark.of(1)) == (NOON, None)
    watermark.reset()
    assert watermark.of(0) is None


def test_unknown_end_holds_watermark_back() -> None:
    watermark = Watermark()
    watermark.observe(NOON, {SENT: 5}, {SENT: 5, RECEIPT: 0})
    assert watermark.of(0) is None

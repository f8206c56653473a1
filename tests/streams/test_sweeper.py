"""Time changes messages: overdue ones are marked once, old ones expire; the sweeper survives lost leases."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import cast

import pytest

from gateway.postback import SENT
from runtime.kafka.consumer_group import TopicPartition
from streams import sweeper
from streams.correlate import headers
from streams.merge import merge, state_of
from streams.message import Message, decode_message, encode_message
from streams.state.partition import PartitionState
from streams.state.spec import Change
from streams.state.store import MemoryStore
from streams.state.table import Fenced, StateTable
from streams.state.writer import StateWriter
from streams.sweeper import MAX_ROUND, Deadlines, Sweeper
from streams.watermark import Watermark
from tests.support.postbacks import START, receipt, sent
from tests.support.submissions import submission

KEY = b"acme/message"
OVERDUE_AFTER, UNSENT_AFTER, EXPIRE_AFTER = timedelta(hours=72), timedelta(minutes=15), timedelta(days=14)
AWAITING = state_of(sent(from_number="74121"))


def after(**time: float) -> datetime:
    return START + timedelta(**time)


def deadlines() -> Deadlines:
    return Deadlines(OVERDUE_AFTER, UNSENT_AFTER, EXPIRE_AFTER)


def evaluate(message: Message, now: datetime) -> Change | None:
    return deadlines().evaluate([(KEY, encode_message(message))], now).changes.get(KEY)


# -- deadlines


def test_short_code_message_without_receipt_is_marked_once() -> None:
    assert evaluate(AWAITING, after(hours=71)) is None
    change = evaluate(AWAITING, after(hours=73))
    assert change
    assert change.value
    marked = decode_message(change.value)
    assert marked.overdue_at == "2026-11-26T12:00:00.000Z"
    assert change.headers == headers("sent", "sent")
    assert evaluate(marked, after(hours=74)) is None


def test_receipt_or_long_number_is_never_overdue() -> None:
    assert evaluate(merge(AWAITING, receipt(second=60)), after(hours=73)) is None
    assert evaluate(state_of(sent(from_number="17575449510")), after(hours=73)) is None


def test_submission_without_attempt_is_marked_once() -> None:
    submitted = state_of(submission())
    assert evaluate(submitted, after(minutes=14)) is None
    evaluated = deadlines().evaluate([(KEY, encode_message(submitted))], after(minutes=15))
    assert (evaluated.overdue, evaluated.unsent) == (0, 1)
    value = evaluated.changes[KEY].value
    assert value
    assert decode_message(value).unsent_at == "2026-11-23T12:15:00.000Z"
    assert evaluate(decode_message(value), after(minutes=16)) is None


def test_unsent_deadline_is_queued_by_scan() -> None:
    ours = deadlines()
    ours.scan([(KEY, encode_message(state_of(submission())))], after(seconds=1))
    assert ours.pop_due(after(minutes=14), 10) == []
    assert ours.pop_due(after(minutes=15), 10) == [KEY]


def test_old_message_gets_tombstone_with_previous_status() -> None:
    assert evaluate(state_of(receipt(code="000")), after(days=14, seconds=-1)) is None
    expected = Change(None, [("status", b""), ("previous", b"delivered")])
    assert evaluate(state_of(receipt(code="000")), after(days=14)) == expected


def test_expired_key_is_ignored() -> None:
    assert deadlines().evaluate([(KEY, None)], after(days=99)).changes == {}


def test_distant_deadline_is_left_to_later_round() -> None:
    ours = deadlines()
    assert ours.scan([(KEY, encode_message(AWAITING))], after(hours=1)) == []
    assert ours.pop_due(after(hours=73), 10) == []


def test_near_deadline_is_returned_once_though_scanned_twice() -> None:
    ours = deadlines()
    for _ in range(2):
        assert ours.scan([(KEY, encode_message(AWAITING))], after(hours=71)) == []
    assert ours.pop_due(after(hours=71, minutes=59), 10) == []
    assert ours.pop_due(after(hours=72), 10) == [KEY]
    assert ours.pop_due(after(hours=73), 10) == []


def test_past_deadlines_are_found_by_first_scan() -> None:
    ours = deadlines()
    old = [(b"%d" % n, encode_message(AWAITING)) for n in range(5)]
    ours.scan(old, after(hours=100))
    due = ours.pop_due(after(hours=100), 3) + ours.pop_due(after(hours=100), 3)
    assert sorted(due) == [key for key, _ in old]
    assert ours.scan([(KEY, encode_message(AWAITING))], after(days=20)) == [KEY], "expired"


def test_rounds_are_a_fraction_of_limits_up_to_an_hour() -> None:
    assert deadlines().round == MAX_ROUND
    assert Deadlines(timedelta(seconds=10), UNSENT_AFTER, EXPIRE_AFTER).round == timedelta(seconds=0.5)
    assert Deadlines(OVERDUE_AFTER, UNSENT_AFTER, timedelta(seconds=20)).round == timedelta(seconds=1)


# -- sweeper


class Table:
    """One partition, always ready, with an overdue message."""

    def __init__(self) -> None:
        self.ready = {0}
        self._lock = asyncio.Lock()
        self._state = PartitionState(MemoryStore())
        self._state.on_written({KEY: encode_message(AWAITING)}, 0, 1)

    def lock(self, partition: int) -> asyncio.Lock:
        return self._lock

    def partition_state(self, partition: int) -> PartitionState:
        return self._state


class Writer:
    """Loses the lease during the first write of each key, after some seconds."""

    def __init__(self, seconds: float = 0) -> None:
        self.wrote = asyncio.Event()
        self._seconds = seconds
        self._attempts: defaultdict[bytes, int] = defaultdict(int)

    async def write(self, partition: int, changes: Mapping[bytes, Change]) -> None:
        for key in changes:
            self._attempts[key] += 1
            if self._attempts[key] == 1:
                await asyncio.sleep(self._seconds)
                raise Fenced
            self.wrote.set()


async def sweep(writer: Writer) -> None:
    """Sweep until the message is marked."""
    watermark = Watermark()
    watermark.observe(after(hours=73), {TopicPartition(SENT, 0): 1}, {TopicPartition(SENT, 0): 1})
    ours = Sweeper(
        cast(StateTable, Table()),
        cast(StateWriter, writer),
        watermark,
        OVERDUE_AFTER,
        UNSENT_AFTER,
        EXPIRE_AFTER,
    )
    ours.start_scan(0)
    sweeping = asyncio.create_task(ours.run())
    try:
        await asyncio.wait_for(writer.wrote.wait(), 30)
    finally:
        sweeping.cancel()


async def test_due_message_is_marked_after_lease_returns() -> None:
    await sweep(Writer())


async def test_slow_write_delays_next_page_only_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeper, "DUTY_CYCLE", 0.001)
    await sweep(Writer(seconds=0.2))

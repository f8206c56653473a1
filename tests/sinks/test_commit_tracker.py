"""Offsets are committed only after everything before them is stored."""

from __future__ import annotations

import random

from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from gateway.postback import SENT
from sinks.batch import Record
from sinks.commit_tracker import CommitTracker, PendingInsert, offset_ranges
from tests.support.records import fake_records

A, B = TopicPartition(SENT, 0), TopicPartition(SENT, 1)


def test_committable_up_to_the_first_pending_insert() -> None:
    tracker = CommitTracker()
    first, second, third = (tracker.track(fake_records(*offsets)) for offsets in ((5, 6), (7, 9), (12,)))
    tracker.ack(second)
    assert tracker.take_committable() == {}
    tracker.ack(first)
    assert tracker.take_committable() == {A: 10}
    tracker.ack(third)
    assert tracker.take_committable() == {A: 13}
    assert tracker.take_committable() == {}


def test_partition_is_independent_of_other_partitions_inserts() -> None:
    tracker = CommitTracker()
    tracker.track(fake_records(1))
    both = tracker.track([*fake_records(2), *fake_records(7, partition=1)])
    tracker.ack(both)
    assert tracker.take_committable() == {B: 8}


def test_restored_offset_is_committable_unless_superseded() -> None:
    tracker = CommitTracker()
    tracker.ack(tracker.track([*fake_records(1), *fake_records(1, partition=1)]))
    failed = tracker.take_committable()
    tracker.ack(tracker.track(fake_records(2)))
    tracker.restore(failed)
    assert tracker.take_committable() == {A: 3, B: 2}


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3)), min_size=1, max_size=3), max_size=8),
    st.randoms(),
)
def test_no_pending_insert_is_ever_committed(
    batches: list[list[tuple[int, int]]], rng: random.Random
) -> None:
    tracker, positions = CommitTracker(), {0: 0, 1: 0, 2: 0}
    inserts: list[PendingInsert] = []
    for batch in batches:
        rows: list[Record] = []
        for partition, count in batch:
            start = positions[partition]
            rows += fake_records(*range(start, start + count), partition=partition)
            positions[partition] += count
        inserts.append(tracker.track(rows))
    committed = dict.fromkeys((TopicPartition(SENT, partition) for partition in positions), 0)
    shuffled = list(inserts)
    rng.shuffle(shuffled)
    for insert in shuffled:
        tracker.ack(insert)
        committed |= tracker.take_committable()
        for other in inserts:
            if not other.acked:
                assert all(committed[tp] <= offsets.start for tp, offsets in other.ranges.items())
    assert {tp.partition: offset for tp, offset in committed.items()} == positions


def test_offset_ranges_span_gaps() -> None:
    records = [*fake_records(3, 9), *fake_records(1, partition=1)]
    assert offset_ranges(records) == {A: range(3, 10), B: range(1, 2)}

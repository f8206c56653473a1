"""The sink's pure parts: batches, offsets, splicing, and how the rows at fault are found."""

from __future__ import annotations

import random
from base64 import b64encode
from collections.abc import Sequence
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json

from gateway.postback import RECEIPT, REJECTED, SENT, decode_rejected
from runtime.retry import backoff
from sinks.batch import Batch, BatchLimits
from sinks.commit_tracker import CommitTracker, PendingInsert, runs
from sinks.isolate import SINGLED_OUT, Candidates, split
from sinks.record import Partition, Record
from sinks.rejection import rejection
from sinks.rows import splice
from sinks.tables import POSTBACKS, REJECTIONS, TABLE_OF
from streams.message import MESSAGES
from tests.support.records import FakeRecord

LIMITS = BatchLimits(rows=3, bytes=100, seconds=2)
A, B = Partition(SENT, 0), Partition(SENT, 1)


def records(*offsets: int, partition: int = 0, value: bytes = b"{}") -> list[FakeRecord]:
    return [FakeRecord(partition=partition, offset=offset, value=value) for offset in offsets]


# -- batches


def test_a_batch_is_full_by_rows() -> None:
    batch = Batch(LIMITS)
    assert list(batch.add(records(1, 2), 0)) == []
    assert list(batch.add(records(3, 4), 1)) == [records(1, 2, 3)]
    assert batch.take() == records(4)


def test_a_batch_is_full_by_bytes_before_it_goes_over() -> None:
    batch = Batch(LIMITS)
    full = list(batch.add(records(1, 2, 3, value=b"x" * 60), 0))
    assert [[record.offset for record in one] for one in full] == [[1], [2]]


def test_a_value_larger_than_a_batch_is_a_batch_of_its_own() -> None:
    batch = Batch(LIMITS)
    list(batch.add(records(1, value=b"x" * 500), 0))
    assert batch.take() == records(1, value=b"x" * 500)


def test_a_batch_is_due_so_long_after_its_first_row() -> None:
    batch = Batch(LIMITS)
    assert batch.due == float("inf")
    list(batch.add(records(1), 10))
    list(batch.add(records(2), 11))
    assert batch.due == 12
    batch.take()
    assert batch.due == float("inf")


# -- offsets


def test_a_partition_is_committed_up_to_the_first_insert_that_is_not_answered() -> None:
    offsets = CommitTracker()
    first, second, third = (offsets.begin(records(*part)) for part in ((5, 6), (7, 9), (12,)))
    offsets.answer(second)
    assert (offsets.take_due(), offsets.stored(A, 13)) == ({}, 5)
    offsets.answer(first)
    assert (offsets.take_due(), offsets.stored(A, 13)) == ({A: 10}, 12)
    offsets.answer(third)
    assert (offsets.take_due(), offsets.stored(A, 13)) == ({A: 13}, 13)
    assert offsets.take_due() == {}


def test_a_partition_does_not_wait_for_another_ones_inserts() -> None:
    offsets = CommitTracker()
    offsets.begin(records(1))
    both = offsets.begin([*records(2), *records(7, partition=1)])
    offsets.answer(both)
    assert offsets.take_due() == {B: 8}


def test_what_could_not_be_committed_is_due_again_unless_a_later_one_is() -> None:
    offsets = CommitTracker()
    offsets.answer(offsets.begin([*records(1), *records(1, partition=1)]))
    failed = offsets.take_due()
    offsets.answer(offsets.begin(records(2)))
    offsets.give_back(failed)
    assert offsets.take_due() == {A: 3, B: 2}


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3)), min_size=1, max_size=3), max_size=8),
    st.randoms(),
)
def test_nothing_unanswered_is_ever_committed(
    batches: list[list[tuple[int, int]]], order: random.Random
) -> None:
    offsets, at = CommitTracker(), {0: 0, 1: 0, 2: 0}
    tickets: list[PendingInsert] = []
    for batch in batches:
        rows: list[Record] = []
        for partition, count in batch:
            rows += records(*range(at[partition], at[partition] + count), partition=partition)
            at[partition] += count
        tickets.append(offsets.begin(rows))
    committed = dict.fromkeys((Partition(SENT, partition) for partition in at), 0)
    shuffled = list(tickets)
    order.shuffle(shuffled)
    for ticket in shuffled:
        offsets.answer(ticket)
        committed |= offsets.take_due()
        for other in tickets:
            if not other.answered:
                assert all(committed[partition] <= run.start for partition, run in other.runs.items())
    assert {partition.partition: end for partition, end in committed.items()} == at


def test_runs_reach_over_gaps_in_the_log() -> None:
    assert runs([*records(3, 9), *records(1, partition=1)]) == {A: range(3, 10), B: range(1, 2)}


# -- splicing


def test_a_value_gets_its_coordinates_without_being_parsed() -> None:
    row = splice(POSTBACKS.tail, 'a"-1', [FakeRecord(SENT, 3, 77, value=b'{"body":"-1}"}')])
    assert json.decode(row) == {"body": "-1}", "cluster": 'a"-1', "topic": SENT, "partition": 3, "offset": 77}
    assert row.endswith(b"}\n")


def test_each_partitions_rows_get_its_own_coordinates() -> None:
    rows = splice(POSTBACKS.tail, "c", [*records(1), *records(5, partition=1), *records(2)])
    known = [json.decode(row.replace(b"{,", b"{")) for row in rows.splitlines()]
    assert [(row["partition"], row["offset"]) for row in known] == [(0, 1), (1, 5), (0, 2)]


def test_a_rejections_own_coordinates_stay_apart_from_its_records() -> None:
    value = b'{"topic":"postbacks.sent","offset":4}'
    row = json.decode(splice(REJECTIONS.tail, "c", [FakeRecord(REJECTED, 2, 8, value=value)]))
    assert row == {
        "topic": SENT,
        "offset": 4,
        "cluster": "c",
        "records": [{"partition": 2, "offset": 8}],
    }


def test_every_topic_of_the_pipeline_has_its_table() -> None:
    assert {topic: table.name for topic, table in TABLE_OF.items()} == {
        SENT: "postbacks",
        "postbacks.response": "postbacks",
        RECEIPT: "postbacks",
        REJECTED: "rejected",
        MESSAGES: "message_states",
    }


# -- rows at fault


def sift(rows: Sequence[Record], bad: set[int], *, names: bool) -> tuple[list[int], set[int], int]:
    """Narrow down as the store does: what was stored, what was given up, and the number of inserts."""
    stored: list[int] = []
    refused: set[int] = set()
    trying, inserts = [Candidates(rows)], 0
    while trying:
        suspects = trying.pop()
        inserts += 1
        at_fault = [n for n, row in enumerate(suspects.records, 1) if row.offset in bad]
        if not at_fault:
            stored += [row.offset for row in suspects.records]
        elif len(suspects.records) == 1:
            refused.add(suspects.records[0].offset)
        else:
            trying += split(suspects, f"Cannot parse: (at row {at_fault[0]})" if names else "Too deep")
    return stored, refused, inserts


@given(st.integers(1, 300), st.sets(st.integers(0, 299)), st.booleans())
def test_all_rows_at_fault_are_found_and_no_others(count: int, bad: set[int], names: bool) -> None:
    stored, refused, _ = sift(records(*range(count)), bad, names=names)
    assert refused == bad & set(range(count))
    assert sorted(stored) == sorted(set(range(count)) - bad)


def test_one_bad_row_of_many_costs_two_more_inserts() -> None:
    assert sift(records(*range(50_000)), {31_415}, names=True)[2] == 3


def test_many_bad_rows_split_the_batch() -> None:
    suspects = Candidates(records(*range(100)), left=0)
    assert [len(part.records) for part in split(suspects, "at row 7")] == [50, 50]
    assert SINGLED_OUT < 100
    assert sift(records(*range(5_000)), set(range(5_000)), names=True)[2] < 5_000 * 3


def test_a_row_that_is_not_there_is_no_name() -> None:
    assert [len(part.records) for part in split(Candidates(records(1, 2)), "at row 3")] == [1, 1]


@pytest.mark.parametrize(("value", "body", "base64"), [(b"nope", "nope", ""), (b"\xff", "", "/w==")])
def test_a_refused_record_is_kept_whole_under_an_id_that_is_its_place(
    value: bytes, body: str, base64: str
) -> None:
    record = FakeRecord(SENT, 3, 14, value=value)
    row = rejection("c", record, "Code: 27.")
    kept = decode_rejected(row)
    assert (kept.reason, kept.stage, kept.body, kept.body_base64) == ("Code: 27.", "sinks", body, base64)
    assert (kept.topic, kept.partition, kept.offset, kept.key) == (SENT, 3, 14, (record.key or b"").decode())
    assert kept.received_at == "2026-11-23T12:00:00.000Z"
    assert decode_rejected(rejection("c", record, "other words")).rejection_id == kept.rejection_id
    assert decode_rejected(rejection("d", record, "Code: 27.")).rejection_id != kept.rejection_id
    assert base64 in ("", b64encode(value).decode())


@pytest.mark.parametrize("timestamp", [-1, 2**62])
def test_a_records_impossible_timestamp_is_no_obstacle(timestamp: int) -> None:
    year = int(decode_rejected(rejection("c", FakeRecord(timestamp=timestamp), "x")).received_at[:4])
    assert 2000 <= year <= 2100


# -- time


def test_pauses_grow_up_to_the_longest() -> None:
    assert list(islice(backoff(1), 6)) == [0.1, 0.2, 0.4, 0.8, 1, 1]

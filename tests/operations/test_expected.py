"""Which offsets must be stored, what counts prove, and how keys are split into passes."""

from __future__ import annotations

from zlib import crc32

from hypothesis import given
from hypothesis import strategies as st

from operations.reconcile.expected import (
    ExpectedRange,
    LogOffsets,
    StoredOffsets,
    expected_range,
    intersect,
    unstored_tail,
)
from operations.reconcile.messages import plan_passes

offset_sets = st.sets(st.integers(0, 60), max_size=40)


def stored(offsets: set[int]) -> StoredOffsets | None:
    if not offsets:
        return None
    return StoredOffsets(
        cluster="c",
        topic="t",
        partition=0,
        rows=len(offsets),
        offsets=len(offsets),
        lowest=min(offsets),
        highest=max(offsets),
        refused=0,
    )


def log(start: int = 0, since: int | None = None, committed: int = -1, end: int = 0) -> LogOffsets:
    return LogOffsets(start, start if since is None else since, committed, end)


@given(offset_sets, st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
def test_counts_prove_completeness_exactly_when_nothing_is_missing(
    offsets: set[int], start: int, committed: int, late: int
) -> None:
    expected = expected_range(stored(offsets), log(start, None, start + committed, start + committed + late))
    tail = unstored_tail(expected, stored(offsets))
    required = set(range(expected.start, expected.bound))
    contiguous = not offsets or offsets == set(range(expected.start, max(offsets) + 1))
    assert (tail is not None) == (required <= offsets and contiguous)
    if tail is not None:
        assert set(tail) == set(range(expected.start, expected.end)) - offsets


def test_range_starts_at_the_lowest_stored_offset() -> None:
    assert expected_range(stored({3, 4}), log(100, committed=120, end=130)) == ExpectedRange(3, 120, 130)
    assert expected_range(None, log(100, committed=120, end=130)) == ExpectedRange(100, 120, 130)


def test_records_deleted_before_sinks_read_them_are_missing() -> None:
    assert expected_range(stored({0, 1}), log(10, committed=2, end=15)) == ExpectedRange(0, 10, 15)
    assert expected_range(None, log(10, committed=2, end=15)) == ExpectedRange(2, 10, 15)


def test_without_a_commit_nothing_is_expected_yet() -> None:
    assert expected_range(None, log(committed=-1, end=15)) == ExpectedRange(0, 0, 15)


def test_offsets_before_since_are_not_expected() -> None:
    assert expected_range(stored({7, 8}), log(since=7, committed=9, end=9)) == ExpectedRange(7, 9, 9)
    assert expected_range(None, log(since=9, committed=9, end=9)) == ExpectedRange(9, 9, 9)


def test_without_a_log_rows_bound_the_range() -> None:
    assert expected_range(stored({3, 9}), None) == ExpectedRange(3, 10, 10)


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(1, 8)), max_size=6), offset_sets)
def test_intersection_has_exactly_the_offsets_with_records(
    lengths: list[tuple[int, int]], records: set[int]
) -> None:
    ranges, at = [], 0
    for gap, length in lengths:
        ranges.append(range(at + gap + 1, at + gap + 1 + length))
        at = ranges[-1].stop
    found = intersect(ranges, sorted(records))
    assert [offset for part in found for offset in part] == sorted(
        offset for within in ranges for offset in within if offset in records
    )
    assert all(any(part.start in within and part[-1] in within for within in ranges) for part in found)


@given(st.integers(1, 40), st.integers(0, 500), st.integers(1, 100))
def test_every_key_is_in_one_bounded_pass(partitions: int, keys: int, keys_per_pass: int) -> None:
    passes = plan_passes(partitions, keys, keys_per_pass)
    for partition in range(partitions):
        key = b"acme/%d" % partition
        covering = [each for each in passes if partition in each.partitions and each.covers(key)]
        assert len(covering) == 1
        assert covering[0].shares == 1 or crc32(key) % covering[0].shares == covering[0].share
    for each in passes:
        size = keys / partitions * len(each.partitions) / each.shares
        assert size <= keys_per_pass or (len(each.partitions) > 1 and size <= keys_per_pass + 1)

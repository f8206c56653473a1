"""Which offsets must be stored, what counts say of that, and how keys are compared in portions. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.options import parse_time
from operations.reconcile.expected import Log, Span, Stored, narrowed, span_of, tail_of
from operations.reconcile.messages import passes_over

offsets = st.sets(st.integers(0, 60), max_size=40)


def stored(at: set[int]) -> Stored | None:
    if not at:
        return None
    return Stored(
        cluster="c",
        topic="t",
        partition=0,
        rows=len(at),
        offsets=len(at),
        least=min(at),
        greatest=max(at),
        refused=0,
    )


def log(first: int = 0, since: int | None = None, committed: int = -1, end: int = 0) -> Log:
    return Log(first, first if since is None else since, committed, end)


@given(offsets, st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
def test_counts_call_a_partition_whole_just_when_it_lacks_nothing_before_its_bound(
    there: set[int], start: int, committed: int, late: int
) -> None:
    span = span_of(stored(there), log(start, None, start + committed, start + committed + late))
    tail = tail_of(span, stored(there))
    expected = set(range(span.start, span.bound))
    unbroken = not there or there == set(range(span.start, max(there) + 1))
    assert (tail is not None) == (expected <= there and unbroken)
    if tail is not None:
        assert set(tail) == set(range(span.start, span.end)) - there


def test_the_range_begins_where_anything_was_ever_stored() -> None:
    assert span_of(stored({3, 4}), log(first=100, committed=120, end=130)) == Span(3, 120, 130)
    assert span_of(None, log(first=100, committed=120, end=130)) == Span(100, 120, 130)


def test_what_retention_deleted_before_the_sinks_read_it_is_missing() -> None:
    assert span_of(stored({0, 1}), log(first=10, committed=2, end=15)) == Span(0, 10, 15)
    assert span_of(None, log(first=10, committed=2, end=15)) == Span(2, 10, 15)


def test_what_was_never_committed_is_not_expected_yet() -> None:
    assert span_of(None, log(committed=-1, end=15)) == Span(0, 0, 15)


def test_since_a_time_nothing_is_expected_from_before() -> None:
    assert span_of(stored({7, 8}), log(since=7, committed=9, end=9)) == Span(7, 9, 9)
    assert span_of(None, log(since=9, committed=9, end=9)) == Span(9, 9, 9)


def test_of_a_log_that_is_gone_the_rows_alone_say_where_it_began_and_ended() -> None:
    assert span_of(stored({3, 9}), None) == Span(3, 10, 10)


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(1, 8)), max_size=6), offsets)
def test_holes_are_narrowed_to_the_offsets_that_have_records(
    lengths: list[tuple[int, int]], records: set[int]
) -> None:
    holes, at = [], 0
    for gap, length in lengths:
        holes.append(range(at + gap + 1, at + gap + 1 + length))
        at = holes[-1].stop
    found = narrowed(holes, sorted(records))
    assert [offset for part in found for offset in part] == sorted(
        offset for hole in holes for offset in hole if offset in records
    )
    assert all(any(part.start in hole and part[-1] in hole for hole in holes) for part in found)


@given(st.integers(1, 40), st.integers(0, 500), st.integers(1, 100))
def test_every_key_is_compared_in_one_pass_and_none_holds_too_many(
    partitions: int, keys: int, together: int
) -> None:
    passes = passes_over(partitions, keys, together)
    for partition in range(partitions):
        key = b"acme/%d" % partition
        having = [compared for compared in passes if partition in compared.partitions and compared.has(key)]
        assert len(having) == 1
        assert having[0].shares == 1 or crc32(key) % having[0].shares == having[0].share
    for compared in passes:
        share = keys / partitions * len(compared.partitions) / compared.shares
        assert share <= together or (len(compared.partitions) > 1 and share <= together + 1)


NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("30m", NOW - timedelta(minutes=30)),
        ("7d", NOW - timedelta(days=7)),
        ("2 W", NOW - timedelta(days=14)),
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
        ("2026-11-20T10:00:00.500Z", datetime(2026, 11, 20, 10, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-11-20 10:00+02:00", datetime(2026, 11, 20, 8, tzinfo=UTC)),
    ],
)
def test_a_moment_is_a_time_or_how_long_ago(text: str, meant: datetime) -> None:
    assert parse_time(text, NOW) == meant


@pytest.mark.parametrize("text", ["", "yesterday", "7", "d", "-1d", "99999999999d", "2026-13-01"])
def test_what_is_no_moment_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no moment; allowed is|too long ago"):
        parse_time(text, NOW)

"""Invalid rows are found by further inserts, and only those."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from sinks.batch import Record
from sinks.isolate import MAX_ISOLATED_ROWS, Candidates, split
from tests.support.records import fake_records


def insert_all(rows: Sequence[Record], invalid: set[int], *, names: bool) -> tuple[list[int], set[int], int]:
    """Isolate as the writer does; returns the stored and the rejected offsets, and the number of inserts."""
    stored: list[int] = []
    rejected: set[int] = set()
    pending, inserts = [Candidates(rows)], 0
    while pending:
        candidates = pending.pop()
        inserts += 1
        refused = [n for n, row in enumerate(candidates.records, 1) if row.offset in invalid]
        if not refused:
            stored += [row.offset for row in candidates.records]
        elif len(candidates.records) == 1:
            rejected.add(candidates.records[0].offset)
        else:
            pending += split(candidates, f"Cannot parse: (at row {refused[0]})" if names else "Too deep")
    return stored, rejected, inserts


@given(st.integers(1, 300), st.sets(st.integers(0, 299)), st.booleans())
def test_exactly_the_invalid_rows_are_rejected(count: int, invalid: set[int], names: bool) -> None:
    stored, rejected, _ = insert_all(fake_records(*range(count)), invalid, names=names)
    assert rejected == invalid & set(range(count))
    assert sorted(stored) == sorted(set(range(count)) - invalid)


def test_one_invalid_row_costs_two_more_inserts() -> None:
    assert insert_all(fake_records(*range(50_000)), {31_415}, names=True)[2] == 3


def test_many_invalid_rows_bisect_the_batch() -> None:
    candidates = Candidates(fake_records(*range(100)), isolations=0)
    assert [len(half.records) for half in split(candidates, "at row 7")] == [50, 50]
    assert MAX_ISOLATED_ROWS < 100
    assert insert_all(fake_records(*range(5_000)), set(range(5_000)), names=True)[2] < 5_000 * 3


def test_named_row_outside_the_batch_is_ignored() -> None:
    candidates = Candidates(fake_records(1, 2))
    assert [len(half.records) for half in split(candidates, "at row 3")] == [1, 1]

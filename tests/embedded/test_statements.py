"""Parsing of statements in the embedded ClickHouse."""

from __future__ import annotations

import time

import pytest

from embedded.clickhouse.statements import find_insert


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO t (type, event_id, message_id, account, from_number, to_number) SELECT 1",
        f"INSERT INTO t ({'abc, ' * 20_000}z) SELECT 1",
        f"INSERT INTO t {' ' * 100_000} SELECT 1",
        f"INSERT INTO t {'/* a comment */' * 10_000} SELECT 1",
    ],
    ids=lambda statement: f"{len(statement)} characters",
)
def test_insert_without_data_is_recognized_fast(statement: str) -> None:
    began = time.process_time()
    assert find_insert(statement.encode()) is None
    assert time.process_time() - began < 5


def test_data_of_an_insert_begins_after_its_format() -> None:
    head = b"/* a (comment */ INSERT INTO `a b`.t (`c (`, \"d\", e) SETTINGS x = 1, y = 'z' FORMAT CSV\n"
    insert = find_insert(head + b"1,2,3")
    assert insert
    assert (insert.format, insert.settings, insert.data_at) == ("CSV", "SETTINGS x = 1, y = 'z'", len(head))

"""The view `auto_response_outcomes` against Python's join: both yield the same for any records."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import json
from msgspec.structs import replace

from streams.auto_response import AUTO_RESPONSES, AutoResponse, encode_auto_response, join_auto_responses
from tests.support.auto_responses import auto_response, auto_responses
from tests.support.sinks import insert_values


def insert(client: Any, *records: AutoResponse) -> None:
    insert_values(client, AUTO_RESPONSES, map(encode_auto_response, records))


def outcomes(client: Any) -> list[AutoResponse]:
    """The rows of the view, ordered by event."""
    rows = client.raw_query(
        "SELECT * FROM auto_response_outcomes ORDER BY account, event_id",
        fmt="JSONEachRow",
        settings={"date_time_output_format": "iso"},
    )
    return [json.decode(row, type=AutoResponse) for row in rows.splitlines()]


def joined(records: Iterable[AutoResponse]) -> list[AutoResponse]:
    known: dict[tuple[str, str], AutoResponse] = {}
    for record in records:
        key = record.account, record.event_id
        known[key] = join_auto_responses(known[key], record) if key in known else record
    return [known[key] for key in sorted(known)]


@settings(max_examples=30)
@given(st.lists(auto_responses(), min_size=1, max_size=20))
def test_outcomes_are_those_of_python(client: Any, records: list[AutoResponse]) -> None:
    client.command("TRUNCATE TABLE auto_responses")
    insert(client, *records)
    assert outcomes(client) == joined(records)


def test_columns_are_the_fields_of_the_contract(client: Any) -> None:
    fields = {*AutoResponse.__struct_fields__}
    table = {name for name, *_ in client.query("DESCRIBE TABLE auto_responses").result_rows}
    view = {name for name, *_ in client.query("DESCRIBE TABLE auto_response_outcomes").result_rows}
    assert table == {*fields, "cluster", "topic", "partition", "offset"}
    assert view == {*fields, "decided_at"}


@pytest.mark.parametrize(
    "value",
    [
        encode_auto_response(auto_response()) * 2,
        encode_auto_response(replace(auto_response(), version=2)),
        encode_auto_response(auto_response()).replace(b'"intent"', b'"intended"'),
        b"{}",
    ],
)
def test_what_is_no_record_is_refused(client: Any, value: bytes) -> None:
    with pytest.raises(DatabaseError):
        insert_values(client, AUTO_RESPONSES, [value])
    assert outcomes(client) == []

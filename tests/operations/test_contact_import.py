"""A CSV file of opt-outs becomes events of contacts: all of it or nothing, and the same ones each time."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json
from msgspec.structs import replace

from operations.contact_import import (
    COLUMNS,
    SIGNALS,
    ImportSource,
    InvalidImport,
    read_import,
    record_of_event,
)
from streams.contact import merge_contact
from streams.contact_event import CONTACT_EVENTS, MAX_WORDS, ContactEvent, decode_contact_event

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
LIST = ImportSource("list", "acme", NOW)

Row = Mapping[str, str]


def write(rows: Sequence[Row]) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def read(text: str, source: ImportSource = LIST) -> list[ContactEvent]:
    return read_import(io.StringIO(text, newline=""), source)


def problems(text: str) -> list[str]:
    with pytest.raises(InvalidImport) as error:
        read(text)
    return error.value.problems


valid_rows = st.fixed_dictionaries(
    {
        "number": st.sampled_from(["17575550100", "+1 (757) 555-0101", "74121", "447700900123"]),
        "own_number": st.sampled_from(["", "74121", "1-757-544-9510"]),
        "at": st.datetimes(datetime(1900, 1, 1), datetime(2026, 11, 28)).map(datetime.isoformat),
        "words": st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=200),
        "signal": st.sampled_from(SIGNALS),
        "account": st.sampled_from(["", "acme", "other"]),
    }
)


@given(st.lists(valid_rows, max_size=20), st.integers(0, 10**9))
def test_importing_again_gives_the_same_events(rows: list[Row], later: int) -> None:
    events = read(write(rows))
    again = read(write(rows), ImportSource("list", "acme", NOW + timedelta(seconds=later)))
    assert [event.event_id for event in again] == [event.event_id for event in events]
    for event, repeated in zip(events, again, strict=True):
        state = merge_contact(None, event)
        assert merge_contact(state, repeated).facts == state.facts


@given(st.lists(valid_rows, max_size=20))
def test_imported_records_are_accepted_by_streams(rows: list[Row]) -> None:
    events = read(write(rows))
    assert len(events) <= len(rows)
    for event in events:
        topic, key, value = record_of_event(event)
        assert (topic, key) == (CONTACT_EVENTS, f"{event.account}/{event.number}".encode())
        assert decode_contact_event(value) == event
        assert len(event.words) <= MAX_WORDS


@given(valid_rows, valid_rows)
def test_events_differ_if_what_was_said_differs(first: Row, second: Row) -> None:
    (a,), (b,) = read(write([first])), read(write([second]))
    assert (a == b) == (a.event_id == b.event_id)


@given(valid_rows)
def test_same_words_from_another_source_are_another_event(row: Row) -> None:
    (event,) = read(write([row]))
    (other,) = read(write([row]), ImportSource("other", "acme", NOW))
    assert other.event_id != event.event_id
    assert replace(other, event_id=event.event_id, source_name="list") == event


def test_number_alone_is_an_opt_out() -> None:
    (event,) = read("number\n+1 (757) 555-0100\n")
    assert json.decode(record_of_event(event).value) == {
        "event_id": event.event_id,
        "account": "acme",
        "number": "7575550100",
        "signal": "opted_out",
        "words": "",
        "source": "import",
        "source_name": "list",
        "received_at": "2026-11-28T12:00:00.000Z",
    }


def test_all_invalid_rows_are_named() -> None:
    text = (
        "number,own_number,at,signal,account\n17575550100,,,,\nnone,x,soon,maybe,NO\n"
        ",,2026-11-28T12:01+00:00,,\n17575550100,,,opted_in,\n17575550100,,1899-01-01,,\n1,2,3,4,5,6\n"
    )
    expected = [
        "line 3: number='none'",
        "line 3: own_number='x'",
        "line 3: at='soon'",
        "line 3: signal='maybe'",
        "line 3: account='NO'",
        "line 4: number=''",
        "line 4: at='2026-11-28T12:01+00:00': must not be in the future",
        "line 5: at='': opted_in needs a time",
        "line 6: at='1899-01-01'",
        "line 7: there are more values than columns",
    ]
    for problem, start in zip(problems(text), expected, strict=True):
        assert problem.startswith(start)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "line 1: the column 'number' is missing"),
        ("phone\n1\n", "line 1: there is no column 'phone'; allowed are number, own_number, at"),
        ("number,number\n1,1\n", "line 1: the column 'number' is repeated"),
        ('number\n"17575550100" x\n', "line 2: not valid CSV"),
        ("number,words\n17575550100,\ud800\n", "must be valid Unicode"),
    ],
)
def test_file_of_another_form_is_refused(text: str, problem: str) -> None:
    assert any(problem in each for each in problems(text))


@given(st.text(st.sampled_from('number,at"\n\r0175x \x00'), max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(InvalidImport):
        read(f"number,at\n{text}")

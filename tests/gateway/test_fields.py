"""Single values of the provider: GUIDs in all spellings, its dates, its numbers."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.parsing.fields import read_guid, read_number
from gateway.parsing.values import read_time, time_of
from gateway.postback import format_time

SPELLINGS = ["{}", "{{{}}}", "({})", "urn:uuid:{}", " {} ", "\t{}\r\n"]


@given(st.uuids(), st.sampled_from(SPELLINGS), st.booleans(), st.booleans())
def test_a_guid_is_the_same_in_every_spelling(guid: UUID, around: str, dashes: bool, upper: bool) -> None:
    spelling = around.format(str(guid) if dashes else guid.hex)
    assert read_guid(spelling.upper() if upper else spelling) == str(guid)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "0", "null", "{}", "12345", "9a35e913-ded0-7574-4642-5f60c550c70", "x" * 36),
        *("00000000-0000-0000-0000-000000000000", "{00000000000000000000000000000000}"),
        "00000000-0000-0000-0000-00000000000",
        "9a35e913-ded0-7574-4642-5f60c550c7061",
    ],
)
def test_zero_and_what_is_no_guid_are_no_id(text: str) -> None:
    assert read_guid(text) is None


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("5/8/2010 2:42:36 AM", "2010-05-08T02:42:36.000Z"),
        ("12/31/2010 12:00:00 AM", "2010-12-31T00:00:00.000Z"),
        ("05/08/2010 12:42:36 pm", "2010-05-08T12:42:36.000Z"),
        ("5/8/2010 2:42:36\u202fPM", "2010-05-08T14:42:36.000Z"),  # as newer .NET prints it
        ("2016-07-13T22:25:33.86", "2016-07-13T22:25:33.860Z"),
        ("2016-07-13T22:25:33.8612345Z", "2016-07-13T22:25:33.861Z"),
        ("2016-07-13 22:25:33", "2016-07-13T22:25:33.000Z"),
        ("2016-07-13T22:25:33-05:00", "2016-07-14T03:25:33.000Z"),
        ("/Date(1468448733861-0500)/", "2016-07-13T22:25:33.861Z"),
        (r"\/Date(1468448733861)\/", "2016-07-13T22:25:33.861Z"),
    ],
)
def test_the_providers_dates_are_utc(text: str, time: str) -> None:
    assert read_time(text) == time


@pytest.mark.parametrize(
    "text",
    [
        *("", "now", "5/8/2010", "13/8/2010 2:42:36 AM", "5/8/2010 14:42:36 PM", "5/8/2010 0:42:36 AM"),
        *("2/31/2010 2:42:36 AM", "2016-13-13T22:25:33", "2016-07-13", "2016-W01", "20160713T222533"),
        *("0001-01-01T00:00:00", "/Date(-62135578800000-0500)/", "0001-01-01T00:00:00+05:00"),
        *("9999-12-31T23:59:59", "/Date(999999999999999)/", "\u0665/8/2010 2:42:36 AM"),
    ],
)
def test_a_date_that_is_unset_or_unreadable_is_none(text: str) -> None:
    assert read_time(text) is None


@given(st.datetimes(datetime(1900, 1, 1), datetime(2299, 12, 31), timezones=st.just(UTC)))
def test_every_time_comes_back_from_iso_8601(at: datetime) -> None:
    assert read_time(at.isoformat()) == format_time(at)


@given(st.text())
def test_reading_never_fails(text: str) -> None:
    time = read_time(text)
    assert time is None or len(time) == 24
    assert read_number(text).isdigit() or read_number(text) == ""


@given(st.integers(0, 4_102_444_800_000))
def test_the_clock_speaks_the_contracts_form(milliseconds: int) -> None:
    whole, rest = divmod(milliseconds, 1000)
    at = datetime.fromtimestamp(whole, UTC).replace(microsecond=rest * 1000)
    assert time_of(whole + rest / 1000 + 0.0001) == format_time(at)


@pytest.mark.parametrize(
    ("text", "number"),
    [("17575449510", "17575449510"), ("+1 (757) 544-9510", "17575449510"), ("74121", "74121"), ("none", "")],
)
def test_numbers_are_digits(text: str, number: str) -> None:
    assert read_number(text) == number

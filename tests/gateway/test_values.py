"""Single values: GUIDs, dates and phone numbers of the provider, and times of the contract."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.parsing.values import read_guid, read_number, read_time, time_of
from gateway.postback import format_time, is_time

SPELLINGS = ["{}", "{{{}}}", "({})", "urn:uuid:{}", " {} ", "\t{}\r\n"]


@given(st.uuids(), st.sampled_from(SPELLINGS), st.booleans(), st.booleans())
def test_guid_spellings_are_equivalent(guid: UUID, template: str, dashes: bool, upper: bool) -> None:
    spelling = template.format(str(guid) if dashes else guid.hex)
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
def test_zero_and_invalid_guids_are_none(text: str) -> None:
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
def test_dates_without_a_zone_are_utc(text: str, time: str) -> None:
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
def test_unset_and_unreadable_dates_are_none(text: str) -> None:
    assert read_time(text) is None


@given(st.datetimes(datetime(1900, 1, 1), datetime(2299, 12, 31), timezones=st.just(UTC)))
def test_iso_8601_times_round_trip(at: datetime) -> None:
    assert read_time(at.isoformat()) == format_time(at)


@given(st.text())
def test_reading_never_raises(text: str) -> None:
    time = read_time(text)
    assert time is None or len(time) == 24
    assert read_number(text).isdigit() or read_number(text) == ""


@given(st.integers(0, 4_102_444_800_000))
def test_clock_times_are_in_contract_form(milliseconds: int) -> None:
    whole, remainder = divmod(milliseconds, 1000)
    at = datetime.fromtimestamp(whole, UTC).replace(microsecond=remainder * 1000)
    assert time_of(whole + remainder / 1000 + 0.0001) == format_time(at)


@pytest.mark.parametrize(
    ("text", "number"),
    [("17575449510", "17575449510"), ("+1 (757) 544-9510", "17575449510"), ("74121", "74121"), ("none", "")],
)
def test_phone_numbers_are_reduced_to_digits(text: str, number: str) -> None:
    assert read_number(text) == number


def test_contract_times_are_recognised() -> None:
    assert is_time("2026-11-23T04:39:41.123Z")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "2026-11-23T04:39:41Z",
        "2026-11-23T04:39:41.123+",
        "2026-13-23T04:39:41.123Z",
        "2026-11-23T25:39:41.123Z",
        "0001-01-01T00:00:00.000Z",
        "9999-12-31T23:59:59.999Z",
        "x" * 24,
    ],
)
def test_other_texts_are_not_contract_times(text: str) -> None:
    assert not is_time(text)

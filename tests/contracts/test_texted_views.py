"""Texts after an opt-out and in quiet hours, by the clocks of the provider and of area codes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import reduce
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import json
from msgspec.structs import replace

from gateway.postback import format_time
from runtime.verdict import Policy
from sinks.reference_data import federal_holidays, time_zones
from streams.contact import CONTACTS, encode_contact, join_contacts, merge_contact
from streams.contact_event import ContactEvent
from streams.join import join
from streams.merge import state_of
from streams.message import MESSAGES, Message, encode_message
from streams.verdict import verdict
from tests.support.contact_events import OWN_NUMBERS, contact_event, contact_events
from tests.support.postbacks import START, at, receipt, sent
from tests.support.sinks import insert_values

NUMBER, OWN = "7575550100", "74121"
WASHINGTON = ZoneInfo("America/New_York")


def guid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012x}"


def text(number: int, when: str | None, to: str = f"1{NUMBER}", own: str = OWN, **others: Any) -> Message:
    """A message that was sent at that time, by the provider's clock."""
    fields: dict[str, Any] = {
        "message_id": guid(number),
        "from_number": own,
        "to_number": to,
        "occurred_at": when,
    } | others
    return state_of(sent(f"s{number}", **fields))


def insert(client: Any, *messages: Message, told: list[ContactEvent] | None = None) -> None:
    insert_values(client, MESSAGES, map(encode_message, messages))
    insert_values(client, CONTACTS, (encode_contact(merge_contact(None, event)) for event in told or []))


def query(client: Any, sql: str) -> list[dict[str, Any]]:
    rows = client.raw_query(sql, fmt="JSONEachRow", settings={"date_time_output_format": "iso"})
    return [json.decode(row) for row in rows.splitlines()]


def after_stop(client: Any, policy: Policy = Policy()) -> list[dict[str, Any]]:  # noqa: B008
    arguments = f"scope = '{policy.scope}', yes = {policy.yes_opts_in:d}"
    return query(client, f"SELECT * FROM texted_after_stop({arguments}) ORDER BY toString(message_id)")


def test_text_after_opt_out_is_found(client: Any) -> None:
    messages = [text(1, at(9)), text(2, at(10)), text(3, at(100.5)), text(4, at(100), to="7575550199")]
    stop = contact_event("e1", 10, words="Stop!", own_number=OWN)
    insert(client, *messages, told=[stop])
    assert after_stop(client) == [
        {
            "account": "acme",
            "message_id": guid(n),
            "number": NUMBER,
            "own_number": OWN,
            "opted_out_at": at(10),
            "words": "Stop!",
            "sent_at": at(second),
            "seconds_after": second - 10,
            "calendar_days": 0,
            "business_days": 0,
            "beyond_allowance": False,
        }
        for n, second in ((2, 10), (3, 100.5))
    ]
    assert query(client, "SELECT * FROM texted_after_stop_daily(scope = 'account', yes = 0)") == [
        {"day": "2026-11-23", "account": "acme", "messages": 2, "beyond_allowance": 0, "numbers": 1}
    ]


def test_text_of_another_account_is_not_found(client: Any) -> None:
    insert(client, text(1, at(20), account="other"), told=[contact_event("e1", 10)])
    assert after_stop(client) == []


def test_late_postback_counts_by_the_provider_s_clock(client: Any) -> None:
    late, unknown = text(1, at(5), received_at=at(3600)), text(2, None, received_at=at(3600))
    insert(client, late, unknown, told=[contact_event("e1", 10)])
    assert [(row["message_id"][-1], row["sent_at"]) for row in after_stop(client)] == [("2", at(3600))]


def test_opt_in_in_between_ends_an_opt_out(client: Any) -> None:
    told = [contact_event("e1", 10), contact_event("e2", 20, "opted_in"), contact_event("e3", 30)]
    insert(client, *(text(n, at(n)) for n in (15, 25, 35)), told=told)
    found = [(row["sent_at"], row["opted_out_at"]) for row in after_stop(client)]
    assert found == [(at(15), at(10)), (at(35), at(30))]


def test_repeated_opt_out_counts_from_the_first(client: Any) -> None:
    insert(client, text(1, at(50)), told=[contact_event("e1", 10), contact_event("e2", 40, words="STOP!!")])
    assert [(row["opted_out_at"], row["words"]) for row in after_stop(client)] == [(at(10), "STOP")]


def test_text_is_sent_once_however_many_states_it_has(client: Any) -> None:
    message = text(1, at(20))
    insert(client, message, told=[contact_event("e1", 10)])
    delivered = join(message, state_of(receipt(message_id=message.message_id, second=60, code="000")))
    insert(client, state_of(receipt(message_id=message.message_id, second=60, code="000")), delivered)
    assert len(after_stop(client)) == 1


def test_inbound_and_unsent_messages_are_not_texts(client: Any) -> None:
    insert(client, text(1, at(20), ok=False), told=[contact_event("e1", 10)])
    assert after_stop(client) == []


told = st.lists(contact_events(), min_size=1, max_size=8)
texts = st.lists(st.tuples(st.integers(-1, 13), st.sampled_from(OWN_NUMBERS)), min_size=1, max_size=6)


@settings(max_examples=25)
@given(told, texts, st.builds(Policy, st.sampled_from(["number", "account"]), st.booleans()))
def test_texts_after_stop_are_those_that_the_verdict_forbade(
    client: Any, events: list[ContactEvent], sends: list[tuple[int, str]], policy: Policy
) -> None:
    """The verdict that the events up to the send yield. Of each event one version, which has no history."""
    events = [*{event.event_id: event for event in events}.values()]
    for table in ("contact_states", "message_states"):
        client.command(f"TRUNCATE TABLE {table}")
    insert(client, *(text(n, at(when), own=own) for n, (when, own) in enumerate(sends)), told=events)
    forbidden = []
    for n, (when, own) in enumerate(sends):
        past = [event for event in events if (event.occurred_at or event.received_at) <= at(when)]
        states = [merge_contact(None, event) for event in past]
        contact = reduce(join_contacts, states) if states else None
        if verdict(contact, own, policy).verdict == "opted_out":
            forbidden.append(guid(n))
    assert [row["message_id"] for row in after_stop(client, policy)] == forbidden


def business_days(opted_out: datetime, sent_at: datetime) -> int:
    """Weekdays without holidays after the day of the opt-out, up to that of the send."""
    first, last = opted_out.astimezone(WASHINGTON).date(), sent_at.astimezone(WASHINGTON).date()
    off = dict(federal_holidays())
    days = (first + timedelta(days=n) for n in range(1, (last - first).days + 1))
    return sum(day.weekday() < 5 and day not in off for day in days)


def test_business_days_are_weekdays_without_holidays(client: Any) -> None:
    opted_out = datetime(2026, 12, 18, 3, tzinfo=UTC)  # still the 17th in Washington
    sends = [opted_out + timedelta(hours=5 * n) for n in range(200)]
    messages = (text(n, format_time(when)) for n, when in enumerate(sends))
    insert(client, *messages, told=[contact_event(occurred_at=format_time(opted_out))])
    found = after_stop(client)
    assert [row["business_days"] for row in found] == [business_days(opted_out, when) for when in sends]
    assert [row["beyond_allowance"] for row in found] == [row["business_days"] > 10 for row in found]
    assert {row["calendar_days"] for row in found} == {*range(43)}
    tenth = max(row["sent_at"] for row in found if not row["beyond_allowance"])
    assert datetime.fromisoformat(tenth).astimezone(WASHINGTON).date() == date(2027, 1, 4)


def quiet(client: Any, source: str = "texted_in_quiet_hours") -> dict[str, bool]:
    """The numbers that were texted in quiet hours, and whether that is certain."""
    return {row["number"]: row["certain"] for row in query(client, f"SELECT * FROM {source}")}


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("2026-11-23T12:59:59.000Z", {"2125550100": True, "6055550100": True, "8085550100": True}),
        ("2026-11-23T13:00:00.000Z", {"6055550100": True, "8085550100": True}),
        ("2026-11-23T14:00:00.000Z", {"6055550100": False, "8085550100": True}),
        ("2026-11-23T15:00:00.000Z", {"8085550100": True}),
        ("2026-11-24T01:59:59.000Z", {}),
        ("2026-11-24T02:00:00.000Z", {"2125550100": True}),
        ("2026-07-23T11:59:59.000Z", {"2125550100": True, "6055550100": True, "8085550100": True}),
        ("2026-07-23T12:00:00.000Z", {"6055550100": True, "8085550100": True}),
    ],
)
def test_quiet_hours_are_those_of_the_area_code(client: Any, when: str, expected: dict[str, bool]) -> None:
    numbers = ("12125550100", "6055550100", "18085550100", "74121", "18005550100", "442071838750")
    insert(client, *(text(n, when, to=number) for n, number in enumerate(numbers)))
    assert quiet(client) == expected
    daily = query(client, "SELECT messages, certain FROM texted_in_quiet_hours_daily")
    assert daily == ([{"messages": len(expected), "certain": sum(expected.values())}] if expected else [])


def test_local_hours_are_those_of_python(client: Any) -> None:
    zones = sorted({zone for found in time_zones().values() for zone in found})
    first = START - timedelta(days=4 * 365)  # rules of years to come change
    times = [first + timedelta(days=37 * n, hours=7 * n) for n in range(30)]
    found = client.query(
        "SELECT arrayMap(zone -> arrayMap(at -> local_hour(fromUnixTimestamp64Milli(at, 'UTC'), zone), "
        "{times:Array(Int64)}), {zones:Array(String)})",
        parameters={"zones": zones, "times": [int(when.timestamp() * 1000) for when in times]},
    ).first_row[0]
    assert found == [[when.astimezone(ZoneInfo(zone)).hour for when in times] for zone in zones]


@pytest.mark.parametrize(
    "view",
    [
        lambda times: f"texted_after_stop_between(scope = 'account', yes = 0, {times})",
        lambda times: f"texted_in_quiet_hours_between({times})",
    ],
)
def test_range_is_of_the_time_sent(client: Any, view: Callable[[str], str]) -> None:
    """Messages are found by it that were submitted days before, or reported days later."""
    midnight = datetime(2026, 11, 24, 6, tzinfo=UTC)
    messages = [
        text(0, format_time(midnight - timedelta(seconds=1))),
        text(1, format_time(midnight), received_at=format_time(midnight + timedelta(days=3))),
        replace(text(2, format_time(midnight)), first_seen_at=format_time(midnight - timedelta(days=9))),
        text(3, format_time(midnight + timedelta(hours=1))),
    ]
    insert(client, *messages, told=[contact_event(occurred_at=at(0))])
    times = f"since = '{midnight:%F %T}', until = '{midnight + timedelta(hours=1):%F %T}'"
    found = query(client, f"SELECT message_id FROM {view(times)} ORDER BY toString(message_id)")
    assert [int(row["message_id"][-1]) for row in found] == [1, 2]


def test_recent_texts_are_found_by_index(client: Any) -> None:
    for month in range(3):
        day = START + timedelta(days=7 * month)
        insert(client, *(text(n + 20_000 * month, None, received_at=format_time(day)) for n in range(20_000)))
    client.command("OPTIMIZE TABLE message_states FINAL")
    plan = client.command(
        f"EXPLAIN indexes = 1 SELECT * FROM sent_states_between(since = '{START:%F %T}', "
        f"until = '{START + timedelta(hours=1):%F %T}')"
    )
    skip = plan[plan.index("Skip") :]
    granules = next(line.split()[-1] for line in skip.splitlines() if "Granules:" in line)
    read, _, present = granules.partition("/")
    assert int(read) <= 3 < 6 <= int(present), plan

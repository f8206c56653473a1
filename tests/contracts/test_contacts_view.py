"""The view `contacts` against Python's join: both yield the same for any partial states."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import accumulate
from typing import Any

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import json
from msgspec.structs import replace

from streams.contact import CONTACTS, Contact, encode_contact, join_contacts, merge_contact
from streams.contact_event import ContactEvent
from tests.support.contact_events import contact_event, contact_events
from tests.support.postbacks import MESSAGE_ID, at
from tests.support.sinks import insert_values


def insert(client: Any, *states: Contact) -> None:
    insert_values(client, CONTACTS, map(encode_contact, states))


def contacts(client: Any, where: str = "1") -> list[Contact]:
    """The rows of the view, ordered by account and number."""
    rows = client.raw_query(
        f"SELECT * FROM contacts WHERE {where} ORDER BY account, number",
        fmt="JSONEachRow",
        settings={"date_time_output_format": "iso"},
    )
    return [json.decode(row, type=Contact) for row in rows.splitlines()]


def of_handset(event: ContactEvent, handset: int, parser: int) -> ContactEvent:
    """The event, of one of four contacts of two accounts, with fields that differ by the parser."""
    account, number = ("acme", "other")[handset % 2], ("7575550100", "74121")[handset // 2]
    event = replace(event, account=account, number=number)
    if parser == 1:
        return replace(event, words=event.words + '"\\é\n\U0001f600', source_name="list")
    if parser == 2:
        return replace(event, own_number="42")
    if parser == 3:
        return replace(event, message_id=None if event.message_id else MESSAGE_ID)
    return event


events = st.builds(of_handset, contact_events(), st.sampled_from([0, 0, 0, 1, 2, 3]), st.integers(0, 3))
#: For each state: its events, and the number of its insert.
partial_states = st.lists(
    st.tuples(st.lists(events, min_size=1, max_size=6), st.integers(0, 3)), min_size=1, max_size=6
)


def states_of(story: Sequence[ContactEvent]) -> list[Contact]:
    """The states that streams would write for these, one after the other per contact."""
    written: list[Contact] = []
    for key in {(event.account, event.number) for event in story}:
        own = [merge_contact(None, event) for event in story if (event.account, event.number) == key]
        written += accumulate(own, join_contacts)
    return written


@settings(max_examples=40)
@given(partial_states)
@example([([contact_event(f"{n:03}", 200 - n, occurred_at=at(n % 7)) for n in range(200)], 0)])
@example([([contact_event(message_id=text)], 0) for text in (MESSAGE_ID, None, f"1{MESSAGE_ID[1:]}")])
@example([([contact_event(f"{n:03}", n % 7, occurred_at=None) for n in range(200)], n) for n in range(2)])
def test_partial_contacts_join_as_in_python(client: Any, story: list[tuple[list[ContactEvent], int]]) -> None:
    client.command("TRUNCATE TABLE contact_states")
    inserts: dict[int, list[Contact]] = {}
    for seen, number in story:
        inserts.setdefault(number, []).extend(states_of(seen))
    for states in inserts.values():
        insert(client, *states)
    known: dict[tuple[str, str], Contact] = {}
    for state in (state for states in inserts.values() for state in states):
        key = state.account, state.number
        known[key] = join_contacts(known[key], state) if key in known else state
    expected = [known[key] for key in sorted(known)]
    assert contacts(client) == expected
    client.command("OPTIMIZE TABLE contact_states FINAL")
    assert contacts(client) == expected


def test_contact_with_many_opt_outs_stays_small(client: Any) -> None:
    """Of a mark the engine keeps the greatest one only, and not one for each state."""
    for second in range(3):
        insert(client, *(merge_contact(None, contact_event(f"e{n}", second)) for n in range(50)))
    client.command("OPTIMIZE TABLE contact_states FINAL")
    assert client.query("SELECT length(marks), length(facts) FROM contact_states").result_rows == [(1, 150)]
    ((state,), (mark,)) = contacts(client), contacts(client)[0].latest
    assert (len(state.facts), mark.event_id, mark.at) == (50, "e9", at(2))


def test_last_opt_out_of_a_contact_is_a_column(client: Any) -> None:
    told = [contact_event("e1", 1), contact_event("e2", 5, "opted_in"), contact_event("e3", 9, "suspected")]
    insert(client, reduce(join_contacts, (merge_contact(None, event) for event in told)))
    query = "SELECT max(opted_out_at) FROM contact_states"
    assert client.command(f"SELECT toString(({query}))") == at(1)[:-1].replace("T", " ")
    insert(client, merge_contact(None, contact_event("e4", 3, occurred_at=None)))
    assert client.command(f"SELECT toString(({query}))") == at(3)[:-1].replace("T", " ")


@pytest.mark.parametrize(
    "value",
    [
        encode_contact(merge_contact(None, contact_event())) * 2,
        encode_contact(replace(merge_contact(None, contact_event()), number="")),
        encode_contact(replace(merge_contact(None, contact_event()), version=0)),
        encode_contact(replace(merge_contact(None, contact_event()), version=2)),
        encode_contact(merge_contact(None, contact_event())).replace(b"opted_out", b"opted_up"),
        b"{}",
    ],
)
def test_what_is_no_contact_is_refused(client: Any, value: bytes) -> None:
    with pytest.raises(DatabaseError):
        insert_values(client, CONTACTS, [value])
    assert contacts(client) == []


def test_contacts_have_exactly_the_fields_of_json(client: Any) -> None:
    columns = [name for name, *_ in client.query("DESCRIBE TABLE contacts").result_rows]
    assert columns == [*Contact.__struct_fields__]


def test_lookup_by_number_reads_one_granule(client: Any) -> None:
    states = (merge_contact(None, contact_event(number=f"757{n:07}")) for n in range(40_000))
    insert(client, *states)
    plan = client.command(
        "EXPLAIN indexes = 1 SELECT * FROM contacts WHERE account = 'acme' AND number = '7570000007'"
    )
    granules = [line.split()[-1] for line in plan.splitlines() if "Granules:" in line]
    assert granules[-1].partition("/")[0] == "1", plan
    assert granules[-1].partition("/")[2] != "1", plan

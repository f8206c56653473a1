"""The list of numbers that have opted out, against Python's verdicts, and as a CSV file."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from pydantic import SecretStr

from operations.contact import verdicts_of
from operations.contact_import import ImportSource, read_import
from operations.contact_list import ListedContact, list_contacts, write_csv
from operations.rows import Query, connect
from runtime.verdict import JUDGEMENTS, Judgement, Policy
from streams.contact import CONTACTS, Contact, encode_contact, join_contacts, merge_contact
from streams.contact_event import ContactEvent
from tests.support.contact_events import contact_event, contact_events
from tests.support.sinks import insert_values

OPT_OUTS: tuple[Judgement, ...] = ("opted_out", "suspected")


@pytest.fixture
def query(client: Any, prepared_database: str) -> Query:
    return connect(SecretStr(prepared_database))


def of_handset(event: ContactEvent, handset: int) -> ContactEvent:
    return replace(event, number=f"757555010{handset}", account=("acme", "other")[handset % 2])


policies = st.builds(Policy, st.sampled_from(["number", "account"]), st.booleans())


@settings(max_examples=10)
@given(
    st.lists(st.builds(of_handset, contact_events(), st.integers(0, 3)), max_size=12),
    policies,
    st.sampled_from([("opted_out",), ("suspected",), JUDGEMENTS[1:]]),
)
def test_listed_are_those_with_the_verdict(
    client: Any, query: Query, events: list[ContactEvent], policy: Policy, judgements: tuple[Judgement, ...]
) -> None:
    client.command("TRUNCATE TABLE contact_states")
    known: dict[tuple[str, str], Contact] = {}
    for event in events:
        state = merge_contact(None, event)
        key = event.account, event.number
        known[key] = join_contacts(known[key], state) if key in known else state
    insert_values(client, CONTACTS, map(encode_contact, known.values()))
    expected = {
        (account, number, found.verdict, found.since, found.words, found.own_number)
        for (account, number), contact in known.items()
        for _, found in verdicts_of(contact, policy)
        if found.verdict in judgements
    }
    listed = list_contacts(query, policy, judgements)
    assert [(c.account, c.number, c.verdict, c.since, c.words, c.own_number) for c in listed] == sorted(
        expected, key=lambda row: (row[0], row[1], row[5], row[3])
    )
    assert list_contacts(query, policy, judgements, "acme") == [c for c in listed if c.account == "acme"]


def test_exported_file_can_be_imported() -> None:
    said = contact_event(words='"Stop", he\nsaid; =1+1')
    listed = ListedContact(
        account=said.account,
        number=said.number,
        verdict="opted_out",
        since=said.received_at,
        words=said.words,
        own_number=said.own_number,
    )
    file = io.StringIO()
    write_csv([listed], file)
    source = ImportSource("export", "default", datetime(2030, 1, 1, tzinfo=UTC))
    (event,) = read_import(io.StringIO(file.getvalue(), newline=""), source)
    assert (event.account, event.number, event.own_number) == (said.account, said.number, said.own_number)
    assert (event.signal, event.words, event.occurred_at) == ("opted_out", said.words, said.received_at)

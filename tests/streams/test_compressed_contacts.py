"""Contacts in the memory of a responder."""

from __future__ import annotations

from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import DecodeError

from streams.contact import Contact, encode_contact, merge_contact
from streams.contact_event import ContactEvent, contact_event_key, encode_contact_event
from streams.responder.contacts import CompressedContacts
from tests.support.contact_events import contact_event, contact_events


def joined(events: list[ContactEvent]) -> Contact | None:
    nothing: Contact | None = None
    return reduce(merge_contact, events, nothing)


@given(st.lists(contact_events(), max_size=10), st.lists(contact_events(), max_size=10))
def test_contact_is_the_join_of_its_records(events: list[ContactEvent], stated: list[ContactEvent]) -> None:
    contacts = CompressedContacts()
    key = contact_event_key(contact_event())
    if state := joined(stated):
        contacts.apply_state(key, encode_contact(state))
    for event in events:
        contacts.apply_event(key, encode_contact_event(event))
    assert contacts.find("acme", "7575550100") == joined(stated + events)


def test_record_under_another_key_is_refused() -> None:
    contacts = CompressedContacts()
    with pytest.raises(DecodeError, match="another one"):
        contacts.apply_event(b"acme/7575550199", encode_contact_event(contact_event()))
    assert contacts.find("acme", "7575550100") is None

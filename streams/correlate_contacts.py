"""Turns the records of `contact_events` into changes of contacts, and rejections. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec.structs import replace

from streams.contact import Contact, decode_contact, encode_contact, merge_contact
from streams.contact_event import OPT_OUTS, ContactEvent, contact_event_key, decode_contact_event
from streams.record_reader import RecordReader
from streams.records import Correlated, Record
from streams.state.spec import Change

#: Marks of a contact, so that its state fits into a record whatever numbers of ours its events name.
MAX_MARKS = 1000


def correlate_contacts(
    cluster: str,
    topic: str,
    partition: int,
    records: Mapping[bytes, Sequence[Record]],
    known: Sequence[bytes | None],
    now: datetime,
) -> Correlated:
    """Merge events into contacts; see `streams.records.Correlate`."""
    changes: dict[bytes, Change] = {}
    reader = RecordReader(cluster, topic, partition, now, decode_contact_event, contact_event_key)
    for (key, new_records), value in zip(records.items(), known, strict=True):
        events = reader.read(new_records)
        if not events:  # the key may be anything, and its value no state
            continue
        before = None if value is None else decode_contact(value)
        after: Contact | None = before
        for event in events:
            after = merge_contact(after, _limited(event, after))
        if after is not None and after is not before:
            changes[key] = Change(encode_contact(after), [])
    return Correlated(changes, reader.rejected, [])


def _limited(event: ContactEvent, contact: Contact | None) -> ContactEvent:
    """Return what to merge: beyond MAX_MARKS an opt-out at a further number of ours counts for all of them.

    An opt-in becomes a fact without a time, which counts nowhere. Only there the order of events matters.
    """
    if contact is None or len(contact.latest) + len(contact.untimed_latest) < MAX_MARKS:
        return event
    marks = contact.latest if event.occurred_at is not None else contact.untimed_latest
    if any((mark.own_number, mark.signal) == (event.own_number, event.signal) for mark in marks):
        return event
    return replace(event, own_number="") if event.signal in OPT_OUTS else replace(event, occurred_at=None)

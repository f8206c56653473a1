"""Turns the records of `contact_events` into changes of contacts, and rejections. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from streams.contact import Contact, decode_contact, encode_contact, merge_contact
from streams.contact_event import contact_event_key, decode_contact_event
from streams.record_reader import RecordReader
from streams.records import Correlated, Record
from streams.state.spec import Change


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
            after = merge_contact(after, event)
        if after is not None and after is not before:
            changes[key] = Change(encode_contact(after), [])
    return Correlated(changes, reader.rejected, [])

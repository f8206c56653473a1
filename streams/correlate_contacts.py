"""Turns the records of `contact_events` into changes of contacts, and rejections. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec import DecodeError

from gateway.rejected import RecordCoordinates, Rejected
from streams.contact import Contact, decode_contact, encode_contact, merge_contact
from streams.contact_event import ContactEvent, contact_key, decode_contact_event
from streams.records import Correlated, InvalidRecord, Record, reject
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
    rejected: list[Rejected] = []
    for (key, new_records), value in zip(records.items(), known, strict=True):
        events: list[ContactEvent] = []
        for record in new_records:
            try:
                events.append(_read(record))
            except InvalidRecord as error:
                coordinates = RecordCoordinates(cluster, topic, partition, record.offset)
                rejected.append(reject(coordinates, error.reason, record, now))
        if not events:  # the key may be anything, and its value no state
            continue
        before = None if value is None else decode_contact(value)
        after: Contact | None = before
        for event in events:
            after = merge_contact(after, event)
        if after is not None and after is not before:
            changes[key] = Change(encode_contact(after), [])
    return Correlated(changes, rejected, [])


def _read(record: Record) -> ContactEvent:
    """Decode a record's event.

    Raises:
        InvalidRecord: it is none, or has another key than its contact.
    """
    if record.value is None:
        raise InvalidRecord("empty_record")
    try:
        event = decode_contact_event(record.value)
    except DecodeError:
        raise InvalidRecord("undecodable_record") from None
    if record.key != contact_key(event.account, event.number):
        raise InvalidRecord("foreign_key")  # its partition need not be that of its contact
    return event

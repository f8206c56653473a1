"""Turns the records of a batch into changes of messages, rejections, and events of contacts. Pure.

Every order of the records yields the same states, and records that were merged before yield no change, unless
they are republished: then the topic may lack the state, so it is written as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache

from msgspec import DecodeError

from gateway.postback import REPUBLISHED, RESPONSE, Response, decode, key_of
from gateway.rejected import RecordCoordinates, Rejected
from gateway.submission import SUBMISSIONS, Submission, decode_submission
from streams.contact_event import (
    CONTACT_EVENTS,
    ContactEvent,
    contact_event_of_response,
    contact_event_of_submission,
    contact_key,
    encode_contact_event,
)
from streams.merge import Event, merge
from streams.message import Message, decode_message, encode_message
from streams.opt_out import recognise
from streams.records import Appended, Correlated, InvalidRecord, Record, reject
from streams.state.spec import Change, Headers

#: The inputs that say something about a contact.
ABOUT_CONTACTS = (RESPONSE, SUBMISSIONS)


def correlate(
    cluster: str,
    topic: str,
    partition: int,
    records: Mapping[bytes, Sequence[Record]],
    known: Sequence[bytes | None],
    now: datetime,
    *,
    opt_out_words: Collection[str] = (),
) -> Correlated:
    """Merge postbacks and submissions into messages; see `streams.records.Correlate`.

    Works key by key from bytes to bytes, so that one message at a time is decoded: reusing its memory is
    faster.

    Args:
        opt_out_words: words of responses that opt out, beside the certain ones.
    """
    changes: dict[bytes, Change] = {}
    rejected: list[Rejected] = []
    appended: list[Appended] = []
    is_about_contacts = topic in ABOUT_CONTACTS
    for (key, new_records), value in zip(records.items(), known, strict=True):
        events: list[Event] = []
        for record in new_records:
            try:
                event = _read(topic, record)
                if is_about_contacts and (found := _contact_event(event, opt_out_words)):
                    appended.append(_append(found))
                if event.message_id is not None:  # else it is a submission about no message
                    events.append(event)
            except InvalidRecord as error:
                coordinates = RecordCoordinates(cluster, topic, partition, record.offset)
                rejected.append(reject(coordinates, error.reason, record, now))
        if not events:  # the key may be anything, and its value no state
            continue
        before = None if value is None else decode_message(value)
        after: Message | None = before
        for event in events:
            after = merge(after, event)
        if after is not None and (after is not before or _is_republished(new_records)):
            changes[key] = change_of(before, after)
    return Correlated(changes, rejected, appended)


def _read(topic: str, record: Record) -> Event:
    """Decode a record's postback or submission.

    Raises:
        InvalidRecord: it is neither, or has another key than its own.
    """
    if record.value is None:
        raise InvalidRecord("empty_record")
    try:
        event: Event = (
            decode_submission(record.value) if topic == SUBMISSIONS else decode(topic, record.value)
        )
    except DecodeError:
        raise InvalidRecord("undecodable_record") from None
    if record.key != key_of(event.account, event.message_id or event.event_id):
        raise InvalidRecord("foreign_key")  # its partition need not be that of its message
    return event


def _is_republished(records: Iterable[Record]) -> bool:
    return any(REPUBLISHED in record.headers for record in records)


def _contact_event(event: Event, words: Collection[str]) -> ContactEvent | None:
    """What the event says about being written to; None: nothing."""
    if isinstance(event, Response):
        recognition = recognise(event.text, words)
        if recognition is None:
            return None
        return contact_event_of_response(event, recognition.signal, recognition.words)
    return contact_event_of_submission(event) if isinstance(event, Submission) else None


def _append(event: ContactEvent) -> Appended:
    return Appended(CONTACT_EVENTS, contact_key(event.account, event.number), encode_contact_event(event))


def change_of(before: Message | None, after: Message) -> Change:
    """The change from one state (None: none) to another."""
    return Change(encode_message(after), headers(after.status, before.status if before else ""))


def tombstone_of(message: Message) -> Change:
    """The change that ends the message's state."""
    return Change(None, headers("", message.status))


@cache
def headers(status: str, previous: str) -> Headers:
    """The headers of a record in `messages`: consumers detect transitions without decoding its value."""
    return [("status", status.encode()), ("previous", previous.encode())]

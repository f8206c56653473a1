"""Turns the records of a batch into changes of messages, rejections, and events of contacts. Pure.

Every order of the records yields the same states, and records that were merged before yield no change, unless
they are republished: then the topic may lack the state, so it is written as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache, partial
from typing import Any

from gateway.postback import REPUBLISHED, RESPONSE, Response, decode, postback_key
from gateway.submission import SUBMISSIONS, Submission, decode_submission, submission_key
from streams.contact_event import (
    CONTACT_EVENTS,
    ContactEvent,
    contact_event_key,
    contact_event_of_response,
    contact_event_of_submission,
    encode_contact_event,
)
from streams.merge import Event, merge
from streams.message import Message, decode_message, encode_message
from streams.opt_out import recognise
from streams.record_reader import RecordReader
from streams.records import Appended, Correlated, Record
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
    appended: list[Appended] = []
    reader = _reader(cluster, topic, partition, now)
    is_about_contacts = topic in ABOUT_CONTACTS
    for (key, new_records), value in zip(records.items(), known, strict=True):
        events = reader.read(new_records)
        if is_about_contacts:
            appended += _contact_events(events, opt_out_words)
        if topic == SUBMISSIONS:
            events = [event for event in events if event.message_id is not None]  # else about no message
        if not events:  # the key may be anything, and its value no state
            continue
        before = None if value is None else decode_message(value)
        after: Message | None = before
        for event in events:
            after = merge(after, event)
        if after is not None and (after is not before or _is_republished(new_records)):
            changes[key] = change_of(before, after)
    return Correlated(changes, reader.rejected, appended)


def _reader(cluster: str, topic: str, partition: int, now: datetime) -> RecordReader[Event]:
    reader: RecordReader[Any]
    if topic == SUBMISSIONS:
        reader = RecordReader(cluster, topic, partition, now, decode_submission, submission_key)
    else:
        reader = RecordReader(cluster, topic, partition, now, partial(decode, topic), postback_key)
    return reader


def _is_republished(records: Iterable[Record]) -> bool:
    return any(REPUBLISHED in record.headers for record in records)


def _contact_events(events: Iterable[Event], words: Collection[str]) -> Iterator[Appended]:
    """What the events say about being written to, as records."""
    for event in events:
        if found := _contact_event(event, words):
            yield Appended(CONTACT_EVENTS, contact_event_key(found), encode_contact_event(found))


def _contact_event(event: Event, words: Collection[str]) -> ContactEvent | None:
    if isinstance(event, Response):
        recognition = recognise(event.text, words)
        if recognition is None:
            return None
        return contact_event_of_response(event, recognition.signal, recognition.words)
    return contact_event_of_submission(event) if isinstance(event, Submission) else None


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

"""Turns the records of a batch into changes of message states, and rejections. Pure: no store, no clock.

Every order of the records yields the same states, and records that were merged before yield no change, unless
they are republished: then the topic may lack the state, so it is written as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import NamedTuple, Protocol

from msgspec import DecodeError

from gateway.postback import REPUBLISHED, decode, key_of
from gateway.rejected import RecordCoordinates, RecordReason, Rejected, reject_record
from gateway.submission import SUBMISSIONS, decode_submission
from streams.merge import Event, merge
from streams.message import Message, decode_message, encode_message
from streams.state.spec import Change, Headers

#: Longer values are truncated in their rejection; the record itself stays in its topic for days.
MAX_REJECTED_BYTES = 512 * 1024


class Record(Protocol):
    """The attributes of a Kafka record that are used here; `timestamp` in milliseconds."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


class Correlated(NamedTuple):
    """Changes by key, and the records that are neither postbacks nor submissions."""

    changes: dict[bytes, Change]
    rejected: list[Rejected]


class InvalidRecord(Exception):
    """A record is neither a postback nor a submission."""

    def __init__(self, reason: RecordReason) -> None:
        super().__init__(reason)
        self.reason: RecordReason = reason


def group_by_key(records: Iterable[Record]) -> dict[bytes, list[Record]]:
    """Group records by key. Records without one get the empty key, which no message has."""
    groups: dict[bytes, list[Record]] = {}
    for record in records:
        groups.setdefault(record.key or b"", []).append(record)
    return groups


def correlate(
    cluster: str,
    topic: str,
    partition: int,
    records: Mapping[bytes, Sequence[Record]],
    known: Sequence[bytes | None],
    now: datetime,
) -> Correlated:
    """Merge the records of each key into its state, and return the states that changed.

    Works key by key from bytes to bytes, so that one message at a time is decoded: reusing its memory is
    faster.

    Args:
        topic: the input topic that all records come from.
        known: the encoded states of the keys, in the same order.
        now: the time of rejections whose record has no credible timestamp.

    Raises:
        NewerVersion: the format of a state is newer than this code.
    """
    changes: dict[bytes, Change] = {}
    rejected: list[Rejected] = []
    for (key, new_records), value in zip(records.items(), known, strict=True):
        events: list[Event] = []
        for record in new_records:
            try:
                event = _read(topic, record)
                if event.message_id is not None:  # else it is a submission about no message
                    events.append(event)
            except InvalidRecord as error:
                coordinates = RecordCoordinates(cluster, topic, partition, record.offset)
                rejected.append(_reject(coordinates, error.reason, record, now))
        if not events:  # the key may be anything, and its value no state
            continue
        before = None if value is None else decode_message(value)
        after: Message | None = before
        for event in events:
            after = merge(after, event)
        if after is not None and (after is not before or _is_republished(new_records)):
            changes[key] = change_of(before, after)
    return Correlated(changes, rejected)


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


def _reject(coordinates: RecordCoordinates, reason: RecordReason, record: Record, now: datetime) -> Rejected:
    value = (record.value or b"")[:MAX_REJECTED_BYTES]
    return reject_record("streams", coordinates, reason, record.key, value, record.timestamp, now)


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

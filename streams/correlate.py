"""The records of a batch become changes of messages, and rejections. Pure: no store, no clock.

Every order of the records comes to the same states, and a record that was merged before changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from msgspec import DecodeError

from gateway.postback import AnyPostback, Rejected, decode, key_of
from streams.change import Change, changed
from streams.message import Message, decode_message, merge
from streams.rejection import Place, Reason, rejection
from streams.times import is_time


class Record(Protocol):
    """What is needed of a Kafka record; `timestamp` in milliseconds."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


class Correlated(NamedTuple):
    """What the records of a batch came to: changes by key, and the records that are no postback."""

    changes: dict[bytes, Change]
    rejected: list[Rejected]


def by_key(records: Iterable[Record]) -> dict[bytes, list[Record]]:
    """The records of each key; one without a key is under the empty one, which is no message's."""
    found: dict[bytes, list[Record]] = {}
    for record in records:
        found.setdefault(record.key or b"", []).append(record)
    return found


def correlate(
    cluster: str,
    topic: str,
    partition: int,
    records: Mapping[bytes, Sequence[Record]],
    known: Sequence[bytes | None],
) -> Correlated:
    """Merge what came of each key into what is known of it (in the same order); only what changed is told.

    Key by key from bytes to bytes, so that no more than one message is held decoded: memory that is used
    again at once is faster.

    Args:
        topic: one of those of postbacks, from which all records are.

    Raises:
        NewerVersion: a known state is of a newer format than this code knows.
    """
    changes: dict[bytes, Change] = {}
    rejected: list[Rejected] = []
    for (key, news), value in zip(records.items(), known, strict=True):
        before = None if value is None else decode_message(value)
        after: Message | None = before
        for record in news:
            read = _read(topic, record)
            if isinstance(read, str):
                place = Place(cluster, topic, partition, record.offset)
                rejected.append(rejection(place, read, record.key, record.value, record.timestamp))
            else:
                after = merge(after, read)
        if after is not None and after is not before:
            changes[key] = changed(before, after)
    return Correlated(changes, rejected)


def _read(topic: str, record: Record) -> AnyPostback | Reason:
    if record.value is None:
        return "empty_record"
    try:
        postback = decode(topic, record.value)
    except DecodeError:
        return "undecodable_record"
    if record.key != key_of(postback.account, postback.message_id):
        return "foreign_key"  # it would meet others of its message by chance only
    return postback if is_time(postback.received_at) else "undecodable_record"

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


class Sorted(NamedTuple):
    """The postbacks of a batch by the key of their message, and the records that are none."""

    postbacks: dict[bytes, list[AnyPostback]]
    rejected: list[Rejected]


def sort_out(cluster: str, topic: str, partition: int, records: Iterable[Record]) -> Sorted:
    """Decode the records of one of the postback topics."""
    postbacks: dict[bytes, list[AnyPostback]] = {}
    rejected: list[Rejected] = []
    for record in records:
        read = _read(topic, record)
        if isinstance(read, str):
            place = Place(cluster, topic, partition, record.offset)
            rejected.append(rejection(place, read, record.key, record.value, record.timestamp))
        else:
            assert record.key is not None  # it is the postback's
            postbacks.setdefault(record.key, []).append(read)
    return Sorted(postbacks, rejected)


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


def correlate(
    postbacks: Mapping[bytes, Sequence[AnyPostback]], known: Sequence[bytes | None]
) -> dict[bytes, Change]:
    """Merge postbacks into what is known of their messages (in the same order); only what changed is told.

    Raises:
        NewerVersion: a known state is of a newer format than this code knows.
    """
    changes = {}
    for (key, news), value in zip(postbacks.items(), known, strict=True):
        before = None if value is None else decode_message(value)
        after: Message | None = before
        for postback in news:
            after = merge(after, postback)
        if after is not None and after is not before:
            changes[key] = changed(before, after)
    return changes

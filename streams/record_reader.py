"""Reads the events of an input's records, and rejects those that are none. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Generic, TypeVar

from msgspec import DecodeError

from gateway.rejected import RecordCoordinates, RecordReason, Rejected, reject_record
from streams.records import Record

#: Longer values are truncated in their rejection; the record itself stays in its topic for days.
MAX_REJECTED_BYTES = 512 * 1024

E = TypeVar("E")


class _InvalidRecord(Exception):
    """A record is no event of its topic."""

    def __init__(self, reason: RecordReason) -> None:
        super().__init__(reason)
        self.reason: RecordReason = reason


class RecordReader(Generic[E]):
    """Reads records of one partition of an input."""

    def __init__(
        self,
        cluster: str,
        topic: str,
        partition: int,
        now: datetime,
        decode: Callable[[bytes], E],
        key_of: Callable[[E], bytes],
    ) -> None:
        """
        Args:
            now: the time of rejections whose record has no credible timestamp.
            decode: raises msgspec.DecodeError if a value is no event.
            key_of: the key that an event's record must have, as it determines its partition.
        """
        self._cluster = cluster
        self._topic = topic
        self._partition = partition
        self._now = now
        self._decode = decode
        self._key_of = key_of
        #: The records so far that were no events.
        self.rejected: list[Rejected] = []

    def read(self, records: Iterable[Record]) -> list[E]:
        """Return the records' events, and reject the other records."""
        events: list[E] = []
        for record in records:
            try:
                events.append(self._event(record))
            except _InvalidRecord as error:
                self.rejected.append(self._rejection(record, error.reason))
        return events

    def _event(self, record: Record) -> E:
        if record.value is None:
            raise _InvalidRecord("empty_record")
        try:
            event = self._decode(record.value)
        except DecodeError:
            raise _InvalidRecord("undecodable_record") from None
        if record.key != self._key_of(event):
            raise _InvalidRecord("foreign_key")
        return event

    def _rejection(self, record: Record, reason: RecordReason) -> Rejected:
        coordinates = RecordCoordinates(self._cluster, self._topic, self._partition, record.offset)
        value = (record.value or b"")[:MAX_REJECTED_BYTES]
        return reject_record("streams", coordinates, reason, record.key, value, record.timestamp, self._now)

"""Kafka records as rows of JSONEachRow, without parsing their values, and the time of a row. Pure.

The record's coordinates replace the value's closing brace. A value that is not a JSON object yields an
invalid row, which ClickHouse refuses. A value of two objects yields two rows, the first one without
coordinates, which the tables' constraints refuse.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import DecodeError, Struct, json

from gateway.postback import Time, encode, is_time
from gateway.rejected import RecordCoordinates, reject_record
from runtime.decoding import total
from sinks.batch import Record


class _Times(Struct):
    """The time of a postback or a rejection (`received_at`), or of a message (`last_seen_at`)."""

    received_at: Time = ""
    last_seen_at: Time = ""


_decode_times = total(json.Decoder(_Times).decode)


def splice(suffix: str, cluster: str, records: Sequence[Record]) -> bytes:
    """The records' rows. `suffix` is that of a `sinks.tables.Table`; the offset is its last number."""
    suffixes: dict[tuple[str, int], tuple[bytes, bytes]] = {}
    pieces: list[bytes] = []
    for record in records:
        partition = record.topic, record.partition
        if partition not in suffixes:
            suffixes[partition] = _around_offset(suffix, cluster, *partition)
        before, after = suffixes[partition]
        pieces += (record.value or b"")[:-1], before, b"%d" % record.offset, after
    return b"".join(pieces)


def rejection_row(cluster: str, record: Record, reason: str, now: datetime) -> bytes:
    """A row of `rejected`, with a record whose row ClickHouse refused now."""
    coordinates = RecordCoordinates(cluster, record.topic, record.partition, record.offset)
    rejected = reject_record("sinks", coordinates, reason, record.key, record.value, record.timestamp, now)
    return encode(rejected)[:-1] + b',"cluster":' + json.encode(cluster) + b"}\n"


def newest_time(records: Sequence[Record], now: float) -> float | None:
    """When the last of the rows that has a time was received, in seconds since 1970, at most `now`.

    None if none has one: records of other producers need not be rows, nor have sensible timestamps.
    """
    for record in reversed(records):
        if (at := _received_at(record)) is not None:
            return min(at, now)
    return None


def _received_at(record: Record) -> float | None:
    try:
        times = _decode_times(record.value or b"{}")
    except DecodeError:
        return None
    at = times.received_at or times.last_seen_at
    return datetime.fromisoformat(at).timestamp() if is_time(at) else None


def _around_offset(suffix: str, cluster: str, topic: str, partition: int) -> tuple[bytes, bytes]:
    names = {"cluster": json.encode(cluster).decode(), "topic": json.encode(topic).decode()}
    before, _, after = (suffix % {**names, "partition": partition, "offset": -1}).rpartition("-1")
    return before.encode(), after.encode()

"""Values become rows of JSONEachRow without being parsed: coordinates take the last brace's place.

What is no JSON object stays none, so ClickHouse refuses it. A value that holds two objects becomes two rows,
and the first of them lacks the coordinates: the tables' constraints refuse that one.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import json

from sinks.record import Record


def splice(tail: str, cluster: str, records: Sequence[Record]) -> bytes:
    """The rows of these records. `tail` is of `sinks.tables.Table`; the offset is its last number."""
    tails: dict[tuple[str, int], tuple[bytes, bytes]] = {}
    pieces: list[bytes] = []
    for record in records:
        place = record.topic, record.partition
        if place not in tails:
            tails[place] = _around_offset(tail, cluster, *place)
        before, after = tails[place]
        pieces += (record.value or b"")[:-1], before, b"%d" % record.offset, after
    return b"".join(pieces)


def _around_offset(tail: str, cluster: str, topic: str, partition: int) -> tuple[bytes, bytes]:
    names = {"cluster": json.encode(cluster).decode(), "topic": json.encode(topic).decode()}
    before, _, after = (tail % {**names, "partition": partition, "offset": -1}).rpartition("-1")
    return before.encode(), after.encode()

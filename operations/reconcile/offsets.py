"""What ClickHouse has of Kafka's coordinates: cheap counts of everything, and more only where they disagree.

A record is stored when its row is in `postbacks`, when it is one of the `records` of a rejection, or when
ClickHouse refused its row, so that the sinks put it into `rejected`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct

from gateway.postback import REJECTED
from operations.reconcile.expected import RecordCoordinates, Span, Stored
from operations.rows import Query, array, read_rows, text, time
from streams.message import MESSAGES

#: Holes that are listed of one partition, at most.
HOLES = 10_000

#: The three ways, each with the names of its columns.
_POSTBACKS = "cluster, topic, `partition`, `offset` FROM postbacks"
_REFUSED = (
    "cluster, topic, toUInt16(`partition`) AS `partition`, toUInt64(`offset`) AS `offset` "
    f"FROM (SELECT * FROM rejected WHERE stage = 'sinks' AND topic != {text(MESSAGES)})"
)
_REJECTIONS = (
    f"cluster, {text(REJECTED)} AS topic, record.1 AS `partition`, record.2 AS `offset` "
    "FROM (SELECT *, arrayJoin(records) AS record FROM rejected)"
)


class Sides(Struct, frozen=True, kw_only=True):
    """Distinct offsets of a partition that are stored before its span's bound, and from there to its end."""

    cluster: str
    topic: str
    partition: int
    before: int
    after: int


class Hole(Struct, frozen=True):
    first: int
    last: int


class Doubled(Struct, frozen=True):
    rows: int


def count_stored(ask: Query, since: datetime) -> list[Stored]:
    """What is stored of each partition, as far as it was received since then."""
    return read_rows(
        ask,
        Stored,
        "SELECT cluster, topic, `partition`, rows, bitmapCardinality(bitmap) AS offsets, "
        "bitmapMin(bitmap) AS least, bitmapMax(bitmap) AS greatest, refused "
        f"FROM ({_bitmaps(f'received_at >= {time(since)}')})",
    )


def count_sides(ask: Query, spans: Mapping[RecordCoordinates, Span]) -> dict[RecordCoordinates, Sides]:
    """How much of each span is stored, whenever it was received; nothing of those of which nothing is."""
    bounds = array(
        f"({text(place.cluster)}, {text(place.topic)}, {place.partition}, "
        f"toUInt64({span.start}), toUInt64({span.bound}), toUInt64({span.end}))"
        for place, span in spans.items()
    )
    sides = read_rows(
        ask,
        Sides,
        "SELECT cluster, topic, `partition`, "
        "bitmapCardinality(bitmapSubsetInRange(bitmap, span.4, span.5)) AS before, "
        "bitmapCardinality(bitmapSubsetInRange(bitmap, span.5, span.6)) AS after "
        "FROM (SELECT *, arrayFirst(span -> (span.1, span.2, span.3) = (cluster, topic, `partition`), "
        f"{bounds}) AS span FROM ({_bitmaps('1')})) WHERE span.1 != ''",
    )
    return {RecordCoordinates(side.cluster, side.topic, side.partition): side for side in sides}


def _bitmaps(where: str) -> str:
    """The offsets of each partition as a set: cheaper for the engine than to sort or to join 60 million."""
    sets = " UNION ALL ".join(
        "SELECT cluster, topic, `partition`, count() AS rows, groupBitmapState(`offset`) AS bitmap, "
        f"{refused} AS refused FROM (SELECT received_at, {coordinates}) WHERE {where} "
        "GROUP BY cluster, topic, `partition`"
        for coordinates, refused in (
            (_POSTBACKS, "0"),
            (_REFUSED, "groupBitmap(`offset`)"),
            (_REJECTIONS, "0"),
        )
    )
    return (
        "SELECT cluster, topic, `partition`, sum(rows) AS rows, sum(refused) AS refused, "
        f"groupBitmapMergeState(bitmap) AS bitmap FROM ({sets}) GROUP BY cluster, topic, `partition`"
    )


def list_holes(ask: Query, place: RecordCoordinates, start: int, stop: int) -> list[range]:
    """The offsets of [start, stop) that are not stored, in order; not more than HOLES ranges."""
    where = (
        f"cluster = {text(place.cluster)} AND topic = {text(place.topic)} "
        f"AND `partition` = {place.partition} AND `offset` >= {start} AND `offset` < {stop}"
    )
    stored = " UNION ALL ".join(
        f"SELECT toInt64(`offset`) AS at FROM (SELECT {coordinates}) WHERE {where}"
        for coordinates in (_POSTBACKS, _REFUSED, _REJECTIONS)
    )
    holes = read_rows(
        ask,
        Hole,
        "SELECT before + 1 AS first, after - 1 AS last FROM ("
        f"SELECT at AS before, leadInFrame(at, 1, toInt64({stop})) OVER "
        "(ORDER BY at ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS after "
        f"FROM (SELECT toInt64({start}) - 1 AS at UNION ALL {stored})) "
        f"WHERE after > before + 1 ORDER BY before LIMIT {HOLES}",
    )
    return [range(hole.first, hole.last + 1) for hole in holes]


def count_doubled(ask: Query, place: RecordCoordinates) -> int:
    """Rows of a partition beyond the first for an offset that no merge will collapse."""
    where = (
        f"cluster = {text(place.cluster)} AND topic = {text(place.topic)} AND `partition` = {place.partition}"
    )
    (doubled,) = read_rows(
        ask,
        Doubled,
        "SELECT sum(kinds - 1) AS rows FROM ("
        "SELECT uniqExact(type, toStartOfHour(received_at), message_id, account, event_id) AS kinds "
        f"FROM postbacks WHERE {where} AND `offset` IN ("
        f"SELECT `offset` FROM postbacks WHERE {where} GROUP BY `offset` HAVING count() > 1"
        ") GROUP BY `offset`)",
    )
    return doubled.rows

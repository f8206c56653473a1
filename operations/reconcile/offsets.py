"""Kafka's offsets in ClickHouse: cheap counts of every partition, and details only of those that disagree.

A record is stored if its row is in `postbacks`, `submissions` or `auto_responses`, if it is one of the
`records` of a rejection, or if ClickHouse refused its row, so that the sinks put it into `rejected`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct

from gateway.postback import POSTBACK_TOPICS
from gateway.rejected import REJECTED
from gateway.submission import SUBMISSIONS
from operations.reconcile.expected import ClusterPartition, ExpectedRange, StoredOffsets
from operations.rows import Query, array, read_rows, time
from runtime.clickhouse.sql import quote
from streams.auto_response import AUTO_RESPONSES
from streams.message import MESSAGES

#: Missing ranges that are listed of one partition.
MAX_RANGES = 10_000

#: The tables with a row per record by topic, and the columns that they are ordered by before its coordinates.
_POSTBACKS = ("postbacks", "type, toStartOfHour(received_at), message_id, account, event_id")
_TABLES = {
    **dict.fromkeys(POSTBACK_TOPICS, _POSTBACKS),
    SUBMISSIONS: ("submissions", "toStartOfHour(received_at), account, event_id"),
    AUTO_RESPONSES: ("auto_responses", "toStartOfHour(at), account, event_id"),
}

#: Where records are stored, each source with the names of its columns.
_STORED = tuple(f"cluster, topic, `partition`, `offset` FROM {table}" for table in dict(_TABLES.values()))
_REFUSED = (
    "cluster, topic, toUInt16(`partition`) AS `partition`, toUInt64(`offset`) AS `offset` "
    f"FROM (SELECT * FROM rejected WHERE stage = 'sinks' AND topic != {quote(MESSAGES)})"
)
_REJECTIONS = (
    f"cluster, {quote(REJECTED)} AS topic, record.1 AS `partition`, record.2 AS `offset` "
    "FROM (SELECT *, arrayJoin(records) AS record FROM rejected)"
)


class StoredCounts(Struct, frozen=True, kw_only=True):
    """Distinct stored offsets of a partition's expected range: before its bound, and from there on."""

    cluster: str
    topic: str
    partition: int
    before_bound: int
    after_bound: int


class OffsetRange(Struct, frozen=True):
    first: int
    last: int


class RowCount(Struct, frozen=True):
    rows: int


def count_stored(query: Query, since: datetime) -> list[StoredOffsets]:
    """What is stored of each partition, of records received since then."""
    return read_rows(
        query,
        StoredOffsets,
        "SELECT cluster, topic, `partition`, rows, bitmapCardinality(bitmap) AS offsets, "
        "bitmapMin(bitmap) AS lowest, bitmapMax(bitmap) AS highest, refused "
        f"FROM ({_bitmaps(f'received_at >= {time(since)}')})",
    )


def count_in_ranges(
    query: Query, ranges: Mapping[ClusterPartition, ExpectedRange]
) -> dict[ClusterPartition, StoredCounts]:
    """How much of each range is stored, whenever it was received; partitions without a row are left out."""
    bounds = array(
        f"({quote(partition.cluster)}, {quote(partition.topic)}, {partition.partition}, "
        f"toUInt64({expected.start}), toUInt64({expected.bound}), toUInt64({expected.end}))"
        for partition, expected in ranges.items()
    )
    counts = read_rows(
        query,
        StoredCounts,
        "SELECT cluster, topic, `partition`, "
        "bitmapCardinality(bitmapSubsetInRange(bitmap, bounds.4, bounds.5)) AS before_bound, "
        "bitmapCardinality(bitmapSubsetInRange(bitmap, bounds.5, bounds.6)) AS after_bound "
        "FROM (SELECT *, arrayFirst(each -> (each.1, each.2, each.3) = (cluster, topic, `partition`), "
        f"{bounds}) AS bounds FROM ({_bitmaps('1')})) WHERE bounds.1 != ''",
    )
    return {ClusterPartition(count.cluster, count.topic, count.partition): count for count in counts}


def _bitmaps(where: str) -> str:
    """Each partition's offsets as a bitmap: cheaper for ClickHouse than to sort or join 60 million rows."""
    bitmaps = " UNION ALL ".join(
        "SELECT cluster, topic, `partition`, count() AS rows, groupBitmapState(`offset`) AS bitmap, "
        f"{refused} AS refused FROM (SELECT received_at, {source}) WHERE {where} "
        "GROUP BY cluster, topic, `partition`"
        for source, refused in (
            *((source, "0") for source in (*_STORED, _REJECTIONS)),
            (_REFUSED, "groupBitmap(`offset`)"),
        )
    )
    return (
        "SELECT cluster, topic, `partition`, sum(rows) AS rows, sum(refused) AS refused, "
        f"groupBitmapMergeState(bitmap) AS bitmap FROM ({bitmaps}) GROUP BY cluster, topic, `partition`"
    )


def list_missing_ranges(query: Query, partition: ClusterPartition, start: int, stop: int) -> list[range]:
    """The offsets in [start, stop) that are not stored, in order, as MAX_RANGES ranges at most."""
    where = (
        f"cluster = {quote(partition.cluster)} AND topic = {quote(partition.topic)} "
        f"AND `partition` = {partition.partition} AND `offset` >= {start} AND `offset` < {stop}"
    )
    stored = " UNION ALL ".join(
        f"SELECT toInt64(`offset`) AS at FROM (SELECT {source}) WHERE {where}"
        for source in (*_STORED, _REFUSED, _REJECTIONS)
    )
    missing = read_rows(
        query,
        OffsetRange,
        "SELECT before + 1 AS first, after - 1 AS last FROM ("
        f"SELECT at AS before, leadInFrame(at, 1, toInt64({stop})) OVER "
        "(ORDER BY at ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS after "
        f"FROM (SELECT toInt64({start}) - 1 AS at UNION ALL {stored})) "
        f"WHERE after > before + 1 ORDER BY before LIMIT {MAX_RANGES}",
    )
    return [range(offsets.first, offsets.last + 1) for offsets in missing]


def count_duplicates(query: Query, partition: ClusterPartition) -> int:
    """Rows of a partition beyond the first one of an offset that no merge will collapse."""
    where = (
        f"cluster = {quote(partition.cluster)} AND topic = {quote(partition.topic)} "
        f"AND `partition` = {partition.partition}"
    )
    table, key = _TABLES.get(partition.topic, _POSTBACKS)
    (duplicates,) = read_rows(
        query,
        RowCount,
        "SELECT sum(keys - 1) AS rows FROM ("
        f"SELECT uniqExact({key}) AS keys "
        f"FROM {table} WHERE {where} AND `offset` IN ("
        f"SELECT `offset` FROM {table} WHERE {where} GROUP BY `offset` HAVING count() > 1"
        ") GROUP BY `offset`)",
    )
    return duplicates.rows

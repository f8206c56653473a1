"""Events that ClickHouse has a record of but no message contains: streams could lose records, too.

Compares hashes, one slice of time after the other, so that they fit into memory; then checks every event of
the few messages that seem to lack some. Not counted as lost are events that a message at its cap has no room
for, and records that streams rejected.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from msgspec import Struct

from operations.progress import Advance
from operations.reconcile.event_rows import FACTS_OF, event_rows
from operations.rows import Query, array, read_rows, time
from operations.time_slices import Period, Slice, slices
from runtime.batched import batched
from runtime.clickhouse.sql import quote
from streams.facts import MAX_FACTS_PER_KIND

#: Rows of one slice: the sets of their hashes take about 500 MB of ClickHouse's memory.
SLICE_ROWS = 8_000_000
HOUR = timedelta(hours=1)
#: Suspect messages of one slice that are checked event by event, and of one query.
MAX_SUSPECTS, QUERY_BATCH = 10_000, 1_000

STREAMS_REJECTED = (
    "(SELECT cluster, topic, toUInt16(`partition`), toUInt64(`offset`) FROM rejected WHERE stage = 'streams')"
)


@dataclass(frozen=True)
class StreamsProgress:
    """Which records' facts must be in ClickHouse: all of other clusters, and of this one those processed."""

    cluster: str
    #: Streams' committed offsets by topic and partition.
    committed: Mapping[tuple[str, int], int]
    #: Partitions whose states are written but not all stored yet, so that nothing can be said about them.
    lagging: Collection[int]

    def condition(self) -> str:
        """SQL that is true for such a record."""
        if not self.committed:
            return f"cluster != {quote(self.cluster)}"
        names = array(quote(f"{topic}/{number}") for topic, number in self.committed)
        offsets = array(f"toUInt64({max(0, offset)})" for offset in self.committed.values())
        not_lagging = f" AND NOT has({array(sorted(self.lagging))}, `partition`)" if self.lagging else ""
        return (
            f"(cluster != {quote(self.cluster)} OR (`offset` < transform(concat(topic, '/', "
            f"toString(`partition`)), {names}, {offsets}, toUInt64(0)){not_lagging}))"
        )


class SuspectMessage(Struct, frozen=True, kw_only=True):
    """A message that seems to lack events, how many, and how many all suspects of the slice lack."""

    message_id: str
    lacking: int
    total: int


class LostEvent(Struct, frozen=True, kw_only=True):
    """An event that is not in its message."""

    account: str
    message_id: str
    type: str
    event_id: str
    received_at: str
    cluster: str
    topic: str
    partition: int
    offset: int


class LostEvents(Struct):
    """How many events are lost, and those that were checked one by one."""

    count: int = 0
    named: list[LostEvent] = []


def event_slices(query: Query, since: datetime) -> list[Slice]:
    """The time since then, in slices that can be compared in memory."""
    hours = read_rows(
        query,
        Period,
        "SELECT toStartOfHour(received_at)::DateTime64(3, 'UTC') AS start, count() AS rows "
        f"FROM {event_rows(f'received_at >= {time(since)}')} GROUP BY start ORDER BY start",
    )
    return [slice._replace(start=max(slice.start, since)) for slice in slices(hours, HOUR, SLICE_ROWS)]


def find_lost(
    query: Query, streams: StreamsProgress, compared: Iterable[Slice], advance: Advance
) -> LostEvents:
    """Events received in these slices that are in no message; `advance` is called with each slice's rows.

    Raises:
        QueryFailed: with ClickHouse's error message.
    """
    lost = LostEvents()
    since: datetime | None = None
    for slice in compared:
        since = since or slice.start
        suspects = _suspects(query, streams, slice)
        checked = sum(suspect.lacking for suspect in suspects)
        lost.count += (suspects[0].total if suspects else 0) - checked
        for batch in batched(suspects, QUERY_BATCH):
            confirmed = _confirm(query, streams, slice, since, [suspect.message_id for suspect in batch])
            lost.count += len(confirmed)
            lost.named += confirmed
        advance(slice.rows)
    return lost


def _suspects(query: Query, streams: StreamsProgress, slice: Slice) -> list[SuspectMessage]:
    """Messages that lack events of the slice, judged by hashes.

    A state that contains an event was written when the event came, or later: it was last seen then or later,
    and first seen no later.
    """
    during = f"received_at >= {time(slice.start)} AND received_at < {time(slice.stop)}"
    events = f"SELECT sipHash64(event_id) FROM {event_rows(during)}"
    event_ids = ", ".join(f"{column}.event_id" for column in FACTS_OF.values())
    facts = (
        f"SELECT sipHash64(arrayJoin(arrayConcat({event_ids}))) AS hash FROM message_states "
        f"WHERE last_seen_at >= {time(slice.start)} AND bucket < {time(slice.stop)}"
    )
    return read_rows(
        query,
        SuspectMessage,
        "SELECT message_id, uniqExact(event_id) AS lacking, sum(lacking) OVER () AS total "
        f"FROM {event_rows(f'{during} AND {streams.condition()}')} "
        f"WHERE sipHash64(event_id) NOT IN (SELECT hash FROM ({facts}) WHERE hash IN ({events})) "
        f"GROUP BY message_id ORDER BY message_id LIMIT {MAX_SUSPECTS}",
    )


def _confirm(
    query: Query, streams: StreamsProgress, slice: Slice, since: datetime, message_ids: Iterable[str]
) -> list[LostEvent]:
    """The events that these messages lack and whose first record (since `since`) is in the slice."""
    first = f"minIf(received_at, received_at >= {time(since)})"
    ids = ",".join(f"toUUID({quote(message_id)})" for message_id in message_ids)
    records = event_rows(
        f"message_id IN ({ids}) AND {streams.condition()} "
        f"AND (cluster, topic, `partition`, `offset`) NOT IN {STREAMS_REJECTED}"
    )
    facts_of_type = ", ".join(f"type = {quote(type)}, of_{type}" for type in FACTS_OF)
    known = ", ".join(f"{_facts(column)} AS of_{type}" for type, column in FACTS_OF.items())
    return read_rows(
        query,
        LostEvent,
        "SELECT account, message_id, type, event_id, at AS received_at, "
        "source.1 AS cluster, source.2 AS topic, source.3 AS `partition`, source.4 AS `offset` FROM ("
        f"SELECT *, multiIf({facts_of_type}, []) AS facts FROM ("
        "SELECT account, message_id, type, event_id, min(received_at) AS at, "
        f"min((received_at, (cluster, topic, `partition`, `offset`))).2 AS source FROM {records} "
        f"GROUP BY account, message_id, type, event_id "
        f"HAVING {first} >= {time(slice.start)} AND {first} < {time(slice.stop)}"
        f") AS event LEFT JOIN (SELECT account, message_id, {known} "
        f"FROM messages WHERE message_id IN ({ids})"
        ") AS known USING (account, message_id)) "
        "WHERE NOT has(facts.2, event_id) "
        f"AND NOT (length(facts) >= {MAX_FACTS_PER_KIND} AND (at, event_id) > facts[-1]) "
        "ORDER BY account, message_id, received_at, event_id",
    )


def _facts(column: str) -> str:
    """The column's facts as the tuples by which they are ordered."""
    return f"arrayMap(fact -> (fact.received_at, fact.event_id), {column})"

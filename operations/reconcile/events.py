"""Events that are in `postbacks` and in no message: streams can lose, too.

Compared are hashes, a slice of time after the other, so that they fit into memory. Of the few messages that
seem to lack something every event is then looked at. Not missed are an event that a message at its cap has no
room for, and one whose record streams rejected.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from msgspec import Struct

from gateway.postback import POSTBACK_TOPICS
from operations.rows import Query, array, read_rows, text, time
from operations.time_slices import Period, Slice, slices
from streams.message import FACTS_OF_A_KIND

#: Rows of one slice: the sets of their hashes take about 500 MB of ClickHouse's memory.
SLICE = 8_000_000
HOUR = timedelta(hours=1)
#: Messages of one slice that are looked at, and of one question about them.
LOOKED_AT, TOGETHER = 10_000, 1_000

_STREAMS_REJECTED = (
    "(SELECT cluster, topic, toUInt16(`partition`), toUInt64(`offset`) FROM rejected WHERE stage = 'streams')"
)


@dataclass(frozen=True)
class Settled:
    """Which records' facts must be in ClickHouse: all of other clusters, and of this one some."""

    cluster: str
    #: By topic and partition, the offset before which streams has committed.
    committed: Mapping[tuple[str, int], int]
    #: Partitions whose states are written, but not all stored yet: too early to say.
    lagging: Collection[int]

    def condition(self) -> str:
        """True for such a record."""
        places = [(topic, number) for topic, number in self.committed if topic in POSTBACK_TOPICS]
        names = array(text(f"{topic}/{number}") for topic, number in places)
        offsets = array(f"toUInt64({max(0, self.committed[place])})" for place in places)
        if not places:
            return f"cluster != {text(self.cluster)}"
        early = f" AND NOT has({array(sorted(self.lagging))}, `partition`)" if self.lagging else ""
        return (
            f"(cluster != {text(self.cluster)} OR (`offset` < transform(concat(topic, '/', "
            f"toString(`partition`)), {names}, {offsets}, toUInt64(0)){early}))"
        )


class Suspect(Struct, frozen=True, kw_only=True):
    """A message that seems to lack events, how many, and how many all such messages of the slice lack."""

    message_id: str
    lacks: int
    together: int


class Lost(Struct, frozen=True, kw_only=True):
    """An event that its message does not know."""

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
    """How many are lost, and which, as far as they were looked at."""

    count: int = 0
    named: list[Lost] = []


def event_slices(ask: Query, since: datetime) -> list[Slice]:
    """The time since then, in slices that can be compared."""
    hours = read_rows(
        ask,
        Period,
        "SELECT toStartOfHour(received_at)::DateTime64(3, 'UTC') AS start, count() AS rows FROM postbacks "
        f"WHERE received_at >= {time(since)} GROUP BY start ORDER BY start",
    )
    return [slice._replace(start=max(slice.start, since)) for slice in slices(hours, HOUR, SLICE)]


def find_lost(
    ask: Query, settled: Settled, compared: Iterable[Slice], done: Callable[[int], None]
) -> LostEvents:
    """Events received in these slices that no message knows; `done` hears of the rows of each slice."""
    lost = LostEvents()
    since: datetime | None = None
    for slice in compared:
        since = since or slice.start
        suspects = _suspects(ask, settled, slice)
        looked_at = sum(suspect.lacks for suspect in suspects)
        lost.count += (suspects[0].together if suspects else 0) - looked_at
        for some in _portions(suspects, TOGETHER):
            named = _confirm(ask, settled, slice, since, [suspect.message_id for suspect in some])
            lost.count += len(named)
            lost.named += named
        done(slice.rows)
    return lost


def _suspects(ask: Query, settled: Settled, slice: Slice) -> list[Suspect]:
    """Messages that lack events of the slice, judged by hashes.

    A state that knows of an event was written when that came, or later: it has seen it, and began before.
    """
    during = f"received_at >= {time(slice.start)} AND received_at < {time(slice.stop)}"
    events = f"SELECT sipHash64(event_id) FROM postbacks WHERE {during}"
    facts = (
        "SELECT sipHash64(arrayJoin(arrayConcat(attempts.event_id, receipts.event_id, replies.event_id))) "
        "AS hash FROM message_states "
        f"WHERE last_seen_at >= {time(slice.start)} AND bucket < {time(slice.stop)}"
    )
    return read_rows(
        ask,
        Suspect,
        "SELECT message_id, uniqExact(event_id) AS lacks, sum(lacks) OVER () AS together FROM postbacks "
        f"WHERE {during} AND {settled.condition()} "
        f"AND sipHash64(event_id) NOT IN (SELECT hash FROM ({facts}) WHERE hash IN ({events})) "
        f"GROUP BY message_id ORDER BY message_id LIMIT {LOOKED_AT}",
    )


def _confirm(
    ask: Query, settled: Settled, slice: Slice, since: datetime, message_ids: Iterable[str]
) -> list[Lost]:
    """Of these messages the events that they lack, and that first came in the slice, as far as is looked."""
    first = f"minIf(received_at, received_at >= {time(since)})"
    ids = ",".join(f"toUUID({text(message_id)})" for message_id in message_ids)
    return read_rows(
        ask,
        Lost,
        "SELECT account, message_id, type, event_id, at AS received_at, "
        "place.1 AS cluster, place.2 AS topic, place.3 AS `partition`, place.4 AS `offset` FROM ("
        "SELECT *, multiIf(type = 'sent', of_sent, type = 'receipt', of_receipt, of_response) AS facts FROM ("
        "SELECT account, message_id, type, event_id, min(received_at) AS at, "
        "min((received_at, (cluster, topic, `partition`, `offset`))).2 AS place FROM postbacks "
        f"WHERE message_id IN ({ids}) AND {settled.condition()} "
        f"AND (cluster, topic, `partition`, `offset`) NOT IN {_STREAMS_REJECTED} "
        f"GROUP BY account, message_id, type, event_id "
        f"HAVING {first} >= {time(slice.start)} AND {first} < {time(slice.stop)}"
        ") AS event LEFT JOIN (SELECT account, message_id, "
        f"{_facts('attempts')} AS of_sent, {_facts('receipts')} AS of_receipt, "
        f"{_facts('replies')} AS of_response FROM messages WHERE message_id IN ({ids})"
        ") AS known USING (account, message_id)) "
        "WHERE NOT has(facts.2, event_id) "
        f"AND NOT (length(facts) >= {FACTS_OF_A_KIND} AND (at, event_id) > facts[-1]) "
        "ORDER BY account, message_id, received_at, event_id",
    )


def _facts(of: str) -> str:
    """Facts of a kind, as far as their order goes."""
    return f"arrayMap(fact -> (fact.received_at, fact.event_id), {of})"


def _portions(suspects: Iterable[Suspect], size: int) -> Iterator[list[Suspect]]:
    left = iter(suspects)
    while some := list(islice(left, size)):
        yield some

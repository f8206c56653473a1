"""Offsets at which a log has no record: markers of transactions, records of aborted ones. No holes, those."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aiokafka import TopicPartition

from operations.reconcile.expected import narrowed
from runtime.kafka.reader import Records

#: Offsets of one partition's holes that are looked up in its log; of those beyond it is believed.
LOOKED_UP = 100_000


async def without_gaps(
    records: Records, tp: TopicPartition, holes: Sequence[range], first: int, done: Callable[[int], None]
) -> list[range]:
    """The holes without those offsets at which the log certainly has no record.

    Args:
        holes: in order.
        first: the log's first offset; of what was before it nobody can say.
        done: hears how many offsets were looked up.

    Raises:
        KafkaAway: no answer.
    """
    proven: list[range] = []
    left = LOOKED_UP
    for hole in holes:
        gone = range(hole.start, min(hole.stop, first))
        there = range(max(hole.start, first), hole.stop)
        looked_at = there[:left]
        left -= len(looked_at)
        proven += [part for part in (gone,) if part]
        if looked_at:
            offsets = [
                record.offset async for _, fetched, _ in records.read({tp: looked_at}) for record in fetched
            ]
            proven += narrowed([looked_at], offsets)
        proven += [part for part in (there[len(looked_at) :],) if part]
        done(len(looked_at))
    return proven

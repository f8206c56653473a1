"""Gaps in a log: offsets without a record (transaction markers, aborted records), which are not missing."""

from __future__ import annotations

from collections.abc import Sequence

from aiokafka import TopicPartition

from operations.progress import Advance
from operations.reconcile.expected import intersect
from runtime.kafka.reader import Records

#: Offsets of one partition that are looked up in its log; any further ones count as missing unchecked.
MAX_LOOKUPS = 100_000


async def exclude_gaps(
    records: Records, tp: TopicPartition, missing: Sequence[range], log_start: int, advance: Advance
) -> list[range]:
    """The missing ranges without those offsets at which the log certainly has no record.

    Args:
        missing: in order.
        log_start: the first offset that retention has not deleted; earlier ones cannot be checked and stay.
        advance: called with the number of offsets looked up.

    Raises:
        KafkaUnavailable: no answer.
    """
    confirmed: list[range] = []
    lookups_left = MAX_LOOKUPS
    for offsets in missing:
        deleted = range(offsets.start, min(offsets.stop, log_start))
        in_log = range(max(offsets.start, log_start), offsets.stop)
        checked, unchecked = in_log[:lookups_left], in_log[lookups_left:]
        lookups_left -= len(checked)
        if deleted:
            confirmed.append(deleted)
        if checked:
            found = [record.offset async for _, batch, _ in records.read({tp: checked}) for record in batch]
            confirmed += intersect([checked], found)
        if unchecked:
            confirmed.append(unchecked)
        advance(len(checked))
    return confirmed

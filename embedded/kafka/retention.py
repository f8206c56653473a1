"""Bounds Kafka's disk usage without deleting records that are still needed.

Above the limit, deletes records that all their consumer groups have committed. If that is not enough, writes
a hold file: while it exists the gateway answers 503, with the reason that the file contains.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from runtime.errors import KafkaUnavailable
from runtime.kafka.clients import open_admin
from runtime.kafka.group_reader import committed_offsets
from runtime.settings import PREFIX

POLL_INTERVAL = 2.0
#: Kafka deletes whole segments: the smaller they are, the closer the usage stays to the limit.
MIN_SEGMENT_BYTES, MAX_SEGMENT_BYTES, SEGMENTS = 2**20, 64 * 2**20, 400
#: Polls above the limit, during which Kafka may delete segments, before the hold file is written; and the
#: fraction of the limit below which it is removed.
MAX_POLLS_ABOVE, RELEASE_RATIO = 3, 0.95
#: Consumer groups that must have committed a record before it may be deleted. Records of `auto_responses` are
#: never deleted early, as they tell what must not be sent again.
CONSUMER_GROUPS: Mapping[str, tuple[str, ...]] = {
    "postbacks.sent": ("streams", "sinks"),
    "postbacks.response": ("streams", "sinks"),
    "postbacks.receipt": ("streams", "sinks"),
    "submissions": ("streams", "sinks"),
    "postbacks.rejected": ("sinks",),
    "contact_events": ("streams",),
}
MIB = 2**20
#: Its name, in the node's folder.
HOLD_FILE = "hold"

log = structlog.get_logger(__name__)


def retention_properties(limit: int) -> dict[str, str]:
    """Return properties of a node that make Kafka delete small segments, and soon."""
    segment = min(MAX_SEGMENT_BYTES, max(MIN_SEGMENT_BYTES, limit // SEGMENTS))
    return {
        "log.segment.bytes": str(segment),
        "log.initial.task.delay.ms": "1000",  # by default, a node deletes nothing in its first half minute
        "log.retention.check.interval.ms": "1000",
        "log.segment.delete.delay.ms": "1000",
    }


class HoldFile:
    """The file that makes the gateway answer 503 while it exists."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._exists = path.exists()

    @property
    def exists(self) -> bool:
        return self._exists

    def write(self, reason: str) -> None:
        """Create the file, unless it exists."""
        if not self._exists:
            log.error("Kafka's disk limit reached, accepting no postbacks", reason=reason)
            self._path.write_text(reason)
        self._exists = True

    def remove(self) -> None:
        """Remove the file, if it exists."""
        if self._exists:
            log.info("Accepting postbacks again")
            self._path.unlink(missing_ok=True)
        self._exists = False


async def enforce_limit(address: str, data: Path, limit: int, hold: HoldFile) -> None:
    """Keep the data of the node at `address` (`host:port`) below `limit` bytes, until cancelled."""
    polls_above = 0
    while True:
        size = await asyncio.to_thread(disk_usage, data)
        polls_above = polls_above + 1 if size > limit else 0
        if polls_above or hold.exists:  # also just below the limit, or the hold would never be removed
            await _delete_committed(address)
        if polls_above > MAX_POLLS_ABOVE:
            hold.write(
                f"Kafka's data takes {size // MIB} MiB of {limit // MIB} ({PREFIX}LOG_BYTES), and the rest "
                "is not stored yet: check ClickHouse and streams, or raise the limit"
            )
        elif size < limit * RELEASE_RATIO:
            hold.remove()
        await asyncio.sleep(POLL_INTERVAL)


def disk_usage(folder: Path) -> int:
    """Return the bytes allocated for all files below the folder (Kafka's indexes are sparse)."""
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.stat().st_blocks * 512
        except FileNotFoundError:  # deleted since rglob listed it
            continue
    return total


async def _delete_committed(address: str) -> None:
    try:
        async with open_admin({"bootstrap_servers": [address]}) as admin:
            counts = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}
            partitions = [
                TopicPartition(topic, number)
                for topic in CONSUMER_GROUPS
                for number in range(counts.get(topic, 0))
            ]
            committed = await _committed_by_all(admin, partitions)
            if committed:
                await admin.delete_records({tp: RecordsToDelete(offset) for tp, offset in committed.items()})
    except KafkaUnavailable as error:
        log.warning("Committed records not deleted, retrying", reason=str(error))


async def _committed_by_all(
    admin: AIOKafkaAdminClient, partitions: Sequence[TopicPartition]
) -> dict[TopicPartition, int]:
    """Return the lowest committed offset of each partition on which all its groups have committed."""
    offsets = {group: await committed_offsets(admin, group, partitions) for group in ("streams", "sinks")}
    lowest = {tp: min(offsets[group].get(tp, -1) for group in CONSUMER_GROUPS[tp.topic]) for tp in partitions}
    return {tp: offset for tp, offset in lowest.items() if offset > 0}

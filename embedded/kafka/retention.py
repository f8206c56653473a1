"""Bounds the disk that Kafka's data takes, without deleting anything that is needed.

Beyond the bound, records that both streams and sinks have committed are deleted. If that is not enough, a
hold file tells the gateway to accept nothing more, with the reason in it, until there is room again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.errors import KafkaError

from runtime.kafka.group_reader import committed_offsets
from runtime.settings import PREFIX

POLL_INTERVAL = 2.0
#: Kafka deletes whole segments: the smaller they are, the closer it comes to the bound.
MIN_SEGMENT_BYTES, MAX_SEGMENT_BYTES, SEGMENTS = 2**20, 64 * 2**20, 400
#: Polls that Kafka has to delete segments before the gateway is held, and the part of the bound that ends it.
MAX_POLLS_ABOVE, RELEASE = 3, 0.95
#: Which groups must have committed a record before it may go.
READERS: Mapping[str, tuple[str, ...]] = {
    "postbacks.sent": ("streams", "sinks"),
    "postbacks.response": ("streams", "sinks"),
    "postbacks.receipt": ("streams", "sinks"),
    "postbacks.rejected": ("sinks",),
}
MIB = 2**20
#: Its name in the node's folder.
HOLD_FILE = "hold"
FULL = (
    "Kafka's data takes {size} MiB of {limit} ("
    + PREFIX
    + "LOG_BYTES), and what is left of it is not stored "
    "yet: see whether ClickHouse and streams work, or raise the limit"
)

log = structlog.get_logger(__name__)


def retention_properties(limit: int) -> dict[str, str]:
    """Properties of a node that make Kafka delete in small portions, and soon."""
    segment = min(MAX_SEGMENT_BYTES, max(MIN_SEGMENT_BYTES, limit // SEGMENTS))
    return {
        "log.segment.bytes": str(segment),
        "log.retention.check.interval.ms": "1000",
        "log.segment.delete.delay.ms": "1000",
    }


class Hold:
    """The file that holds the gateway."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._exists = file.exists()

    def hold(self, reason: str) -> None:
        """Let the gateway accept nothing more."""
        if not self._exists:
            log.error("No more postbacks are accepted", reason=reason)
            self._file.write_text(reason)
        self._exists = True

    def release(self) -> None:
        """Let the gateway accept postbacks again."""
        if self._exists:
            log.info("Postbacks are accepted again")
            self._file.unlink(missing_ok=True)
        self._exists = False


async def keep_below(address: str, data: Path, limit: int, hold: Hold) -> None:
    """Keep the data of the node at `host:port` below `limit` bytes; until cancelled."""
    polls = 0
    while True:
        size = await asyncio.to_thread(disk_usage, data)
        polls = polls + 1 if size > limit else 0
        if polls:
            await _delete_committed(address)
        if polls > MAX_POLLS_ABOVE:
            hold.hold(FULL.format(size=size // MIB, limit=limit // MIB))
        elif size < limit * RELEASE:
            hold.release()
        await asyncio.sleep(POLL_INTERVAL)


def disk_usage(folder: Path) -> int:
    """Bytes that the files below the folder take on disk; their indexes are sparse."""
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.stat().st_blocks * 512
        except FileNotFoundError:  # deleted meanwhile
            continue
    return total


async def _delete_committed(address: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    try:
        await admin.start()
        found = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}
        partitions = [
            TopicPartition(topic, number) for topic in READERS for number in range(found.get(topic, 0))
        ]
        done = {tp: RecordsToDelete(offset) for tp, offset in (await _committed(admin, partitions)).items()}
        if done:
            await admin.delete_records(done)
    except (KafkaError, OSError, TimeoutError) as error:
        log.warning("Committed records not deleted, retrying", reason=str(error) or type(error).__name__)
    finally:
        await admin.close()


async def _committed(
    admin: AIOKafkaAdminClient, partitions: Sequence[TopicPartition]
) -> dict[TopicPartition, int]:
    """Up to where every reader has committed, of each partition in which all have."""
    offsets = {group: await committed_offsets(admin, group, partitions) for group in ("streams", "sinks")}
    reached = {tp: min(offsets[group].get(tp, -1) for group in READERS[tp.topic]) for tp in partitions}
    return {tp: offset for tp, offset in reached.items() if offset > 0}

"""Rewinds the consumer groups after an unclean shutdown.

A killed process loses nothing, as the page cache survives it. A power cut may preserve offsets that a group
committed but lose records: what streams wrote to `messages`, and the end of any log, so that other records
get offsets that sinks have committed.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from embedded.kafka.node import CLEAN_SHUTDOWN
from runtime.kafka.clients import open_admin
from runtime.kafka.group_reader import committed_offsets, remove_members
from runtime.retry import retrying

#: How far to rewind before the last write: longer than the system keeps data unwritten in its page cache.
MARGIN = timedelta(hours=1)
GROUPS = ("streams", "sinks")
#: Seconds between retries (at most) while Kafka loads its groups, and until giving up.
MAX_BACKOFF, TIMEOUT = 0.1, 60.0

log = structlog.get_logger(__name__)


def rewind_time(data: Path) -> datetime | None:
    """Return the time to rewind to; None if the shutdown was clean or there is no data."""
    if not (data / "meta.properties").is_file() or (data / CLEAN_SHUTDOWN).exists():
        return None
    last_write = max((file.stat().st_mtime for file in data.rglob("*.log")), default=None)
    return None if last_write is None else datetime.fromtimestamp(last_write, UTC) - MARGIN


async def rewind_groups(address: str, since: datetime) -> None:
    """Rewind the committed offsets of streams and sinks to a time; call it before their members start.

    Removes members that Kafka still lists: they died with the node, and new ones would wait for them.

    Args:
        address: the node's `host:port`.

    Raises:
        KafkaUnavailable: the node does not respond, or does not load its groups.
    """
    async with open_admin({"bootstrap_servers": [address]}) as admin:
        partitions = [
            TopicPartition(topic["topic"], partition["partition"])
            for topic in await admin.describe_topics()
            if not topic["is_internal"]
            for partition in topic["partitions"]
        ]
        async for attempt in retrying(KafkaError, MAX_BACKOFF, TIMEOUT):
            with attempt:
                for group in GROUPS:
                    await remove_members(admin, group)
                    await _rewind(admin, address, group, partitions, since)


async def _rewind(
    admin: AIOKafkaAdminClient, address: str, group: str, partitions: list[TopicPartition], since: datetime
) -> None:
    committed = await committed_offsets(admin, group, partitions)
    async with AIOKafkaConsumer(
        bootstrap_servers=address, group_id=group, enable_auto_commit=False
    ) as consumer:
        consumer.assign(partitions)
        targets = await consumer.offsets_for_times(dict.fromkeys(partitions, round(since.timestamp() * 1000)))
        rewound = {tp: at.offset for tp, at in targets.items() if at and at.offset < committed.get(tp, -1)}
        if rewound:
            log.warning("Rewinding offsets after an unclean shutdown of Kafka", group=group)
            known = await consumer._coordinator.fetch_committed_offsets(list(rewound))
            await consumer.commit(
                {tp: OffsetAndMetadata(offset, known[tp].metadata) for tp, offset in rewound.items()}
            )

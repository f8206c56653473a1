"""What to read again after a node was not stopped in good order.

A killed process loses nothing, as the page cache survives it. A power cut may have left offsets that a group
committed, and not what it wrote elsewhere before: streams to `messages`, sinks to the embedded ClickHouse,
which does not sync its inserts.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_fixed

from embedded.kafka.node import CLEAN_SHUTDOWN
from runtime.errors import KafkaUnavailable
from runtime.kafka.group_reader import committed_offsets, remove_members

#: Read again is what came so long before the last write: longer than a disk takes to write what it was given.
MARGIN = timedelta(hours=1)
GROUPS = ("streams", "sinks")
#: Seconds between two tries while Kafka loads its groups, and until it must have loaded them.
RETRY_INTERVAL, TIMEOUT = 0.1, 60.0

log = structlog.get_logger(__name__)


def reread_since(data: Path) -> datetime | None:
    """From when on the inputs should be read again; None after a shutdown in good order, or without data."""
    if not (data / "meta.properties").is_file() or (data / CLEAN_SHUTDOWN).exists():
        return None
    written = max(file.stat().st_mtime for file in data.rglob("*.log"))
    return datetime.fromtimestamp(written, UTC) - MARGIN


async def rewind_groups(address: str, since: datetime) -> None:
    """Move the offsets of streams and sinks back to that time, before their members start.

    Members that Kafka still knows died with the node; remove them, so that new ones need not wait.

    Args:
        address: the node's `host:port`.

    Raises:
        KafkaAway: the node does not answer, or does not load its groups.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    try:
        await admin.start()
        partitions = [
            TopicPartition(topic["topic"], partition["partition"])
            for topic in await admin.describe_topics()
            if not topic["is_internal"]
            for partition in topic["partitions"]
        ]
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(KafkaError),
            stop=stop_after_delay(TIMEOUT),
            wait=wait_fixed(RETRY_INTERVAL),
            reraise=True,
        ):
            with attempt:
                for group in GROUPS:
                    await remove_members(admin, group)
                    await _rewind(admin, address, group, partitions, since)
    except KafkaError as error:
        raise KafkaUnavailable(
            f"Kafka's groups cannot be rewound: {error or type(error).__name__}"
        ) from error
    finally:
        await admin.close()


async def _rewind(
    admin: AIOKafkaAdminClient, address: str, group: str, partitions: list[TopicPartition], since: datetime
) -> None:
    committed = await committed_offsets(admin, group, partitions)
    async with AIOKafkaConsumer(
        bootstrap_servers=address, group_id=group, enable_auto_commit=False
    ) as consumer:
        consumer.assign(partitions)
        found = await consumer.offsets_for_times(dict.fromkeys(partitions, round(since.timestamp() * 1000)))
        rewound = {tp: at.offset for tp, at in found.items() if at and at.offset < committed.get(tp, -1)}
        if rewound:
            log.warning("Reading records again, as Kafka was not shut down properly", group=group)
            await consumer.commit(rewound)

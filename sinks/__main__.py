"""`python -m sinks`: carries Kafka's records to ClickHouse until it is stopped. Prints its ops address.

Here settings become parts, and parts a process; nothing else is decided.
"""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer

from runtime.clickhouse.client import Inserter, Unavailable
from runtime.errors import KafkaUnavailable
from runtime.health import Health, serve_ops
from runtime.kafka.clients import client_options
from runtime.kafka.group_monitor import GroupMonitor
from runtime.kafka.group_reader import GroupReader
from runtime.kafka.membership import METADATA_MAX_AGE_MS
from runtime.metrics import SINK_LAG, SINK_UNOWNED
from runtime.process import first_completed, run_process
from runtime.retry import Retrier
from runtime.settings import Settings
from sinks.batch import BatchLimits
from sinks.cluster import ClusterGuard
from sinks.migrate import migrate
from sinks.tables import TABLE_OF
from sinks.watchdog import watch
from sinks.worker import Worker
from sinks.writer import ClickHouseWriter

OPS = "127.0.0.1:8183"
GROUP = "sinks"
#: Bytes of one batch's values; a batch of full rows of the usual size is a bit less.
BATCH_BYTES = 32 * 2**20
#: Bytes that one fetch brings, at most, and of them from one partition.
FETCH_BYTES, PARTITION_BYTES = 16 * 2**20, 2**20
#: As much is worth a fetch, and how long Kafka waits for it.
FETCH_MIN_BYTES, FETCH_WAIT_MS = 256 * 2**10, 100
#: Seconds that one insert may take before it is tried again; it must be less than `stall_after`.
INSERT_SECONDS = 30.0
MAX_PAUSE = 5.0
DAY_MS = 86_400_000


async def sink(settings: Settings, stop: asyncio.Event) -> None:
    """Store what Kafka has until `stop` is set.

    Raises:
        Refused: the schema is newer than this code, or the cluster is another one than at the start.
        Stalled: there is work and no progress.
    """
    health = Health()
    health.down("partitions", "none assigned yet")
    async with serve_ops(settings.ops or OPS, health) as address:
        print(address, flush=True)
        await _carry(settings, stop, health)


async def _carry(settings: Settings, stop: asyncio.Event, health: Health) -> None:
    patience = Retrier(health, (Unavailable, KafkaUnavailable), min(MAX_PAUSE, settings.stall_after / 4))
    cluster = ClusterGuard(client_options(settings))
    inserter = Inserter(settings.clickhouse, min(INSERT_SECONDS, settings.stall_after / 2))

    topics: dict[str, int] = {}

    async def open_both() -> None:
        await patience.until_done("clickhouse", lambda: asyncio.to_thread(migrate, settings.clickhouse))
        topics.update(await patience.until_done("kafka", lambda: cluster.open(TABLE_OF)))

    try:
        await first_completed(stop.wait(), open_both())
        if stop.is_set():
            return
        worker = Worker(
            _consumer(settings),
            ClickHouseWriter(inserter, cluster, patience),
            BatchLimits(settings.batch_rows, BATCH_BYTES, settings.batch_seconds),
            settings.session_timeout / 2,
            topics,
            health,
        )
        async with GroupReader(client_options(settings), GROUP, topics, topics) as reader:
            monitor = GroupMonitor(reader, lambda: worker.membership, health, SINK_LAG, SINK_UNOWNED)
            await first_completed(
                worker.run(stop), monitor.run(), watch(worker, monitor, settings.stall_after)
            )
    finally:
        await cluster.close()
        await inserter.close()


def _consumer(settings: Settings) -> AIOKafkaConsumer:
    session_ms = int(settings.session_timeout * 1000)
    return AIOKafkaConsumer(
        **client_options(settings),
        group_id=GROUP,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=session_ms,
        heartbeat_interval_ms=session_ms // 3,
        metadata_max_age_ms=METADATA_MAX_AGE_MS,
        max_poll_interval_ms=DAY_MS,  # while ClickHouse is away nothing is read, and the member stays
        fetch_min_bytes=FETCH_MIN_BYTES,
        fetch_max_wait_ms=FETCH_WAIT_MS,
        fetch_max_bytes=FETCH_BYTES,
        max_partition_fetch_bytes=PARTITION_BYTES,
    )


if __name__ == "__main__":
    run_process(sink)

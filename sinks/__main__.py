"""`python -m sinks`: stores Kafka's records in ClickHouse until it is stopped. Prints its ops address.

All wiring is here: settings become parts, and parts a process.
"""

from __future__ import annotations

import asyncio
from functools import partial
from uuid import UUID

from aiokafka import AIOKafkaConsumer

from runtime.clickhouse.client import Inserter
from runtime.clickhouse.errors import ClickHouseUnavailable
from runtime.errors import KafkaUnavailable
from runtime.health import Health, serve_ops
from runtime.kafka.clients import client_options, member_options
from runtime.kafka.consumer_group import TopicPartition
from runtime.kafka.group_monitor import GroupMonitor
from runtime.kafka.group_reader import GroupReader
from runtime.kafka.membership import METADATA_MAX_AGE_MS
from runtime.kafka.stall_watch import describe_lag, watch
from runtime.kafka.topic_ids import topic_id_of
from runtime.kafka.topic_watch import TopicWatch
from runtime.metrics import SINK_LAG, SINK_RETRIES, SINK_UNOWNED
from runtime.process import first_completed, run_process
from runtime.retry import Retrier
from runtime.settings import Settings
from sinks.batch import BatchLimits
from sinks.cluster import ClusterGuard
from sinks.migrate import migrate
from sinks.tables import TABLE_OF
from sinks.texted_monitor import TextedMonitor
from sinks.worker import Worker
from sinks.writer import ClickHouseWriter
from streams.contact import CONTACTS
from streams.message import MESSAGES

OPS = "127.0.0.1:8183"
GROUP = "sinks"
#: Topics of states: if one was deleted and created again, it is read from its beginning.
STATE_TOPICS = (MESSAGES, CONTACTS)
#: The sink that owns this partition counts texts after opt-outs and in quiet hours.
TEXTED_COUNTER = TopicPartition(CONTACTS, 0)
#: Bytes of one batch's values; a batch of full rows of average size is slightly smaller.
BATCH_BYTES = 32 * 2**20
#: Bytes of one fetch, and of one partition in it, at most.
FETCH_MAX_BYTES, PARTITION_MAX_BYTES = 16 * 2**20, 2**20
#: Bytes that Kafka gathers before it answers a fetch, and how long it waits for them.
FETCH_MIN_BYTES, FETCH_WAIT_MS = 256 * 2**10, 100
#: Seconds until an insert is retried; less than `stall_after`.
INSERT_TIMEOUT = 30.0
MAX_BACKOFF = 5.0


async def sink(settings: Settings, stop: asyncio.Event) -> None:
    """Store Kafka's records until `stop` is set.

    Raises:
        StartupError: the schema is newer than this code, or Kafka is now another cluster than at the start.
        Stalled: there is lag and no progress.
        TopicReplaced: a topic of states was deleted meanwhile.
    """
    health = Health()
    health.down("partitions", "none assigned yet")
    async with serve_ops(settings.ops or OPS, health) as address:
        print(address, flush=True)
        await _run(settings, stop, health)


async def _run(settings: Settings, stop: asyncio.Event, health: Health) -> None:
    max_backoff = min(MAX_BACKOFF, settings.stall_after / 4)
    retrier = Retrier(health, (ClickHouseUnavailable, KafkaUnavailable), max_backoff, SINK_RETRIES)
    cluster = ClusterGuard(client_options(settings))
    inserter = Inserter(settings.clickhouse, min(INSERT_TIMEOUT, settings.stall_after / 2))

    topics: dict[str, int] = {}
    topic_ids: dict[str, UUID] = {}

    async def open_both() -> None:
        await retrier.call("clickhouse", lambda: asyncio.to_thread(migrate, settings.clickhouse))
        topics.update(await retrier.call("kafka", lambda: cluster.open(TABLE_OF)))
        for topic in STATE_TOPICS:
            found = await retrier.call("kafka", partial(topic_id_of, client_options(settings), topic))
            if found:
                topic_ids[topic] = found

    try:
        await first_completed(stop.wait(), open_both())
        if stop.is_set():
            return
        async with GroupReader(client_options(settings), GROUP, topics, topics) as reader:
            worker = Worker(
                _consumer(settings),
                ClickHouseWriter(inserter, cluster, retrier),
                BatchLimits(settings.batch_rows, BATCH_BYTES, settings.batch_seconds),
                settings.session_timeout / 2,
                topics,
                topic_ids,
                health,
            )
            monitor = GroupMonitor(reader, lambda: worker.membership, health, SINK_LAG, SINK_UNOWNED)
            texted = TextedMonitor(
                settings.clickhouse,
                settings.opt_out_scope,
                settings.yes_opts_in,
                lambda: TEXTED_COUNTER in worker.assigned,
            )
            watches = [TopicWatch(reader, topic, topic_id, stop) for topic, topic_id in topic_ids.items()]
            await first_completed(
                worker.run(stop),
                monitor.run(),
                watch(
                    lambda: describe_lag(monitor, worker.assigned),
                    lambda: worker.attempts,
                    health,
                    settings.stall_after,
                ),
                texted.run(),
                *(topic_watch.run() for topic_watch in watches),
            )
        for topic_watch in watches:
            if topic_watch.problem:
                await cluster.verify()  # another cluster has other topics, too
                raise topic_watch.problem
    finally:
        await cluster.close()
        await inserter.close()


def _consumer(settings: Settings) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        **member_options(settings, GROUP),
        metadata_max_age_ms=METADATA_MAX_AGE_MS,
        fetch_min_bytes=FETCH_MIN_BYTES,
        fetch_max_wait_ms=FETCH_WAIT_MS,
        fetch_max_bytes=FETCH_MAX_BYTES,
        max_partition_fetch_bytes=PARTITION_MAX_BYTES,
    )


if __name__ == "__main__":
    run_process(sink)

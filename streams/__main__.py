"""`python -m streams`: runs one worker until it is stopped. Turns settings into parts, and wires them."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import structlog

from runtime.errors import KafkaUnavailable
from runtime.health import Health, serve_ops
from runtime.kafka.clients import client_options, cluster_id
from runtime.kafka.group_monitor import GroupMonitor
from runtime.kafka.group_reader import GroupReader
from runtime.kafka.topic_ids import topic_id_of
from runtime.kafka.topic_watch import TopicWatch
from runtime.kafka.topics import ensure_topics
from runtime.metrics import STREAMS_LAG, STREAMS_UNOWNED
from runtime.process import first_completed, run_process
from runtime.retry import Retrier
from runtime.settings import Settings
from streams.message import INPUTS, MESSAGES
from streams.state.earlier import EarlierStores
from streams.state.folders import StoreFolders
from streams.state.repair import ChangelogRepair
from streams.state.rocksdb import RocksFolder, state_directory
from streams.state.store import MemoryStore, StateStore
from streams.state.table import StateTable
from streams.state.unused_stores import UnusedStores
from streams.state.write_cache import CacheBudget, WriteCache
from streams.state.writer import StateWriter
from streams.sweeper import Sweeper
from streams.tables import MESSAGES_TABLE
from streams.topics import messages_topic, require_inputs
from streams.transport.app import GROUP, faust_app, group_topics
from streams.watchdog import Watchdog
from streams.watermark import Watermark
from streams.worker import Worker

OPS = "127.0.0.1:8182"
#: Seconds between attempts to reach Kafka at the start.
MAX_BACKOFF = 1.0

log = structlog.get_logger(__name__)


async def work(settings: Settings, stop: asyncio.Event) -> None:
    """Wait for Kafka and its topics, then run a worker until `stop` is set.

    Raises:
        StartupError: settings, topics or states are not as they must be.
        Stalled: there is work, and nothing progresses.
    """
    health = Health()
    health.down("partitions", "not in the group yet")
    options = client_options(settings)
    async with serve_ops(settings.ops or OPS, health):
        retrier = Retrier(health, KafkaUnavailable, MAX_BACKOFF)
        preparing = asyncio.ensure_future(retrier.call("kafka", lambda: _prepare_topics(settings, options)))
        await first_completed(stop.wait(), preparing)
        if stop.is_set():
            return
        _collect_garbage_rarely()
        cluster, topic_id = preparing.result()
        await run_worker(settings, options, cluster, health, stop, topic_id)


async def _prepare_topics(settings: Settings, options: Mapping[str, Any]) -> tuple[str, UUID | None]:
    """Create or check the topics; return the cluster's id, and that of `messages`."""
    await ensure_topics(options, [messages_topic(settings.partitions, settings.replication)])
    await require_inputs(options, settings.partitions)
    return await cluster_id(options), await topic_id_of(options, MESSAGES)


async def run_worker(
    settings: Settings,
    options: Mapping[str, Any],
    cluster: str,
    health: Health,
    stop: asyncio.Event,
    topic_id: UUID | None = None,
) -> None:
    """Wire a worker, and run it until `stop` is set.

    Args:
        options: options of aiokafka's clients (`client_options`).
        cluster: the cluster's id; states of other clusters are removed.
        topic_id: the id of `messages`; states of another one are joined into it. None: unknown.

    Raises:
        TopicReplaced: `messages` was deleted meanwhile.
        StartupError: this code cannot read the states, or not store them here.
        Stalled: there is work, and nothing progresses.
    """
    directory = state_directory(settings.data / "states", cluster)
    folders = StoreFolders(directory, topic_id)
    app = faust_app(
        options,
        folders.current,
        partitions=settings.partitions,
        session_timeout=settings.session_timeout,
        fetch_wait=settings.fetch_wait,
        topic_id=topic_id,
        compression=settings.compression,
    )
    folder = RocksFolder(folders.current, settings.partitions)
    table = StateTable(app, MESSAGES_TABLE, _stores(settings.store, folder), folders.set_aside)
    app.tables.add(table)
    writer = StateWriter(table)
    watermark = Watermark()
    worker = Worker(cluster, table, writer, watermark)
    sweeper = Sweeper(
        table,
        writer,
        watermark,
        timedelta(seconds=settings.overdue_after),
        timedelta(seconds=settings.unsent_after),
        timedelta(seconds=settings.forget_after),
    )
    table.on_ready = sweeper.start_scan
    worker.on_submitted = sweeper.on_submitted
    async with GroupReader(options, GROUP, group_topics(settings.partitions), INPUTS) as reader:
        watchdog = Watchdog(worker.status, reader, health, watermark, settings.stall_after)
        monitor = GroupMonitor(reader, worker.membership, health, STREAMS_LAG, STREAMS_UNOWNED)
        repair = ChangelogRepair(table, writer, options, reader)
        earlier = EarlierStores(table, writer, folders, _open_earlier, settings.partitions)
        unused_stores = UnusedStores(folder, lambda: table.states.by_partition, lambda: datetime.now(UTC))
        watch = TopicWatch(reader, MESSAGES, topic_id, stop)
        background = (watchdog, monitor, sweeper, repair, earlier, unused_stores, watch)
        log.info("Worker started", cluster=cluster, store=settings.store, data=str(settings.data))
        await worker.run(stop, *(task.run() for task in background))
    if watch.problem:
        raise watch.problem


def _stores(kind: Literal["rocksdb", "memory"], folder: RocksFolder) -> Callable[[int], StateStore]:
    """A function that opens a partition's store."""
    if kind == "memory":
        return lambda _: MemoryStore()
    budget = CacheBudget()
    return lambda partition: WriteCache(folder.open(partition), budget)


def _open_earlier(folder: Path) -> StateStore:
    return RocksFolder(folder.parent, partitions=1).open(int(folder.name))


def _collect_garbage_rarely() -> None:
    """A batch consists of thousands of objects without cycles, which Python would scan again and again."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


if __name__ == "__main__":
    run_process(work)

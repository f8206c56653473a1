"""`python -m streams`: runs one worker until it is stopped. Turns settings into parts, and wires them."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
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
from streams.correlate import correlate
from streams.correlate_contacts import correlate_contacts
from streams.correlation import Correlation
from streams.records import Correlate
from streams.state.earlier import EarlierStores
from streams.state.folders import StoreFolders
from streams.state.repair import ChangelogRepair
from streams.state.rocksdb import RocksFolder, state_directory
from streams.state.rocksdb_options import SharedMemory
from streams.state.spec import TableSpec
from streams.state.store import MemoryStore, StateStore
from streams.state.table import StateTable
from streams.state.unused_stores import UnusedStores
from streams.state.write_cache import CacheBudget, WriteCache
from streams.state.writer import StateWriter
from streams.sweeper import Sweeper
from streams.tables import CONTACTS_TABLE, MESSAGES_TABLE
from streams.topics import require_inputs, streams_topics
from streams.transport.app import GROUP, faust_app, group_topics
from streams.watchdog import Watchdog
from streams.worker import Worker

OPS = "127.0.0.1:8182"
#: Seconds between attempts to reach Kafka at the start.
MAX_BACKOFF = 1.0
#: The tables of a worker.
TABLES = (MESSAGES_TABLE, CONTACTS_TABLE)

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
        cluster, topic_ids = preparing.result()
        await run_worker(settings, options, cluster, health, stop, topic_ids)


async def _prepare_topics(
    settings: Settings, options: Mapping[str, Any]
) -> tuple[str, dict[str, UUID | None]]:
    """Create or check the topics; return the cluster's id, and those of the changelogs."""
    await ensure_topics(options, streams_topics(settings.partitions, settings.replication))
    await require_inputs(options, settings.partitions)
    topic_ids = {spec.topic: await topic_id_of(options, spec.topic) for spec in TABLES}
    return await cluster_id(options), topic_ids


async def run_worker(
    settings: Settings,
    options: Mapping[str, Any],
    cluster: str,
    health: Health,
    stop: asyncio.Event,
    topic_ids: Mapping[str, UUID | None],
) -> None:
    """Wire a worker, and run it until `stop` is set.

    Args:
        options: options of aiokafka's clients (`client_options`).
        cluster: the cluster's id; states of other clusters are removed.
        topic_ids: the ids of the changelogs; states of other ones are joined into them. None: unknown.

    Raises:
        TopicReplaced: a changelog was deleted meanwhile.
        StartupError: this code cannot read the states, or not store them here.
        Stalled: there is work, and nothing progresses.
    """
    directory = state_directory(settings.data / "states", cluster)
    app = faust_app(
        options,
        directory,
        {spec: topic_ids[spec.topic] for spec in TABLES},
        partitions=settings.partitions,
        session_timeout=settings.session_timeout,
        fetch_wait=settings.fetch_wait,
        compression=settings.compression,
    )
    budget, memory, merging = CacheBudget(), SharedMemory(), asyncio.Lock()
    tables: dict[TableSpec, _Table] = {}
    for spec, function in _correlate(settings).items():
        folders = StoreFolders(directory / spec.folder, topic_ids[spec.topic])
        folder = RocksFolder(folders.current, settings.partitions, memory, spec.share)
        open_store = _open_memory if settings.store == "memory" else _opener(folder, budget)
        table = StateTable(app, spec, open_store, folders.set_aside)
        app.tables.add(table)
        correlation = Correlation(cluster, table, StateWriter(table), function, merging)
        tables[spec] = _Table(correlation, folders, folder)
    worker = Worker(app, [each.correlation for each in tables.values()])
    messages = tables[MESSAGES_TABLE].correlation
    sweeper = Sweeper(
        messages.table,
        messages.writer,
        messages.watermark,
        timedelta(seconds=settings.overdue_after),
        timedelta(seconds=settings.unsent_after),
        timedelta(seconds=settings.forget_after),
    )
    messages.table.on_ready = sweeper.start_scan
    messages.on_merged = sweeper.on_merged
    topics = group_topics(tables, settings.partitions)
    inputs = [topic for spec in tables for topic in spec.inputs]
    async with GroupReader(options, GROUP, topics, inputs) as reader:
        watermarks = {spec: each.correlation.watermark for spec, each in tables.items()}
        watchdog = Watchdog(worker.status, reader, health, watermarks, settings.stall_after)
        monitor = GroupMonitor(reader, worker.membership, health, STREAMS_LAG, STREAMS_UNOWNED)
        watches = [TopicWatch(reader, topic, topic_id, stop) for topic, topic_id in topic_ids.items()]
        background = [watchdog.run(), monitor.run(), sweeper.run(), *(watch.run() for watch in watches)]
        for each in tables.values():
            background += each.maintenance(options, reader, settings.partitions)
        log.info("Worker started", cluster=cluster, store=settings.store, data=str(settings.data))
        await worker.run(stop, *background)
    for watch in watches:
        if watch.problem:
            raise watch.problem


def _correlate(settings: Settings) -> dict[TableSpec, Correlate]:
    """How the inputs of each table are merged into it."""
    messages = partial(correlate, opt_out_words=settings.listed_opt_out_words)
    return {MESSAGES_TABLE: messages, CONTACTS_TABLE: correlate_contacts}


class _Table(NamedTuple):
    """One table of the worker, and where its stores are."""

    correlation: Correlation
    folders: StoreFolders
    folder: RocksFolder

    def maintenance(
        self, options: Mapping[str, Any], reader: GroupReader, partitions: int
    ) -> list[Coroutine[Any, Any, None]]:
        """What is to run in the background for this table alone."""
        table, writer = self.correlation.table, self.correlation.writer
        return [
            ChangelogRepair(table, writer, options, reader).run(),
            EarlierStores(table, writer, self.folders, _open_earlier, partitions).run(),
            UnusedStores(self.folder, lambda: table.states.by_partition, lambda: datetime.now(UTC)).run(),
        ]


def _open_memory(_: int) -> StateStore:
    return MemoryStore()


def _opener(folder: RocksFolder, budget: CacheBudget) -> Callable[[int], StateStore]:
    """A function that opens a partition's store."""
    return lambda partition: WriteCache(folder.open(partition), budget)


def _open_earlier(folder: Path) -> StateStore:
    return RocksFolder(folder.parent, partitions=1).open(int(folder.name))


def _collect_garbage_rarely() -> None:
    """A batch consists of thousands of objects without cycles, which Python would scan again and again."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


if __name__ == "__main__":
    run_process(work)

"""A worker of streams: takes batches of postbacks, merges them, writes what changed, then acknowledges.

Here the parts are put together, and a batch goes its way through them. Faust assigns partitions, fills the
table from its log, and brings batches; it runs inside our own event loop.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import structlog
from faust.types import TP, EventT, StreamT

from gateway.postback import POSTBACK_TOPICS, REJECTED, Rejected, encode
from runtime.health import Health
from runtime.kafka.consumer_group import TopicPartition
from runtime.kafka.group_monitor import GroupMonitor
from runtime.kafka.group_reader import GroupReader
from runtime.kafka.membership import Membership
from runtime.metrics import MERGED, STREAMS_BATCH_SECONDS, STREAMS_LAG, STREAMS_UNOWNED
from runtime.metrics import REJECTIONS as REJECTED_COUNT
from runtime.process import force_exit_after
from runtime.settings import Settings
from streams.change import Change
from streams.correlate import by_key, correlate
from streams.state.repair import ChangelogRepair
from streams.state.rocksdb import RocksFolder
from streams.state.store import MemoryStore, StateStore
from streams.state.table import Fenced, MessagesTable
from streams.state.write_cache import WriteCache
from streams.sweeper import Sweeper
from streams.transport.app import GROUP, faust_app, group_topics
from streams.transport.consumer import Batch
from streams.watchdog import Watchdog
from streams.watermark import Watermark

log = structlog.get_logger(__name__)

STOP_SECONDS, CRASH_SECONDS = 20.0, 1.0
#: Keys merged between yields to the event loop.
KEYS_AT_ONCE = 500


def utc_now() -> datetime:
    return datetime.now(UTC)


class Worker:
    """One member of the group `streams`."""

    def __init__(
        self,
        settings: Settings,
        options: Mapping[str, Any],
        cluster: str,
        health: Health,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """Nothing is connected yet.

        Args:
            options: of aiokafka's clients (`runtime.kafka.client_options`).
            cluster: Kafka's name of itself; states of another cluster are not touched.
            clock: the time, for deadlines.
        """
        self._cluster = cluster
        folder = _folder(settings.data / "states", cluster)
        self.app = faust_app(settings, options, folder)
        self.table = MessagesTable(self.app, settings.partitions, _opener(settings, folder))
        self.app.tables.add(self.table)
        self._watermark: Watermark[TopicPartition] = Watermark()
        self._sweeper = Sweeper(
            self.table,
            self._watermark,
            timedelta(seconds=settings.overdue_after),
            timedelta(seconds=settings.forget_after),
        )
        self._reader = GroupReader(options, GROUP, group_topics(settings.partitions), POSTBACK_TOPICS)
        self._watchdog = Watchdog(
            self.app, self.table, self._reader, health, self._watermark, clock, settings.stall_after
        )
        self._monitor = GroupMonitor(self._reader, self._membership, health, STREAMS_LAG, STREAMS_UNOWNED)
        self._healer = ChangelogRepair(self.table, options, self._reader)
        self._tasks: set[asyncio.Task[None]] = set()
        self._merging = asyncio.Lock()
        self.table.on_ready = self._sweeper.begin
        inputs = self.app.topic(
            *POSTBACK_TOPICS, key_serializer="raw", value_serializer="raw", key_type=bytes, value_type=bytes
        )
        self.app.agent(inputs, name="correlate")(self._consume)
        self.app.on_partitions_revoked.connect(self._settle)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; gives the partitions back at the end.

        Raises:
            Refused: states cannot be read by this code, or not be kept here.
            Stalled: there was work and no progress.
        """
        parts = [
            asyncio.create_task(self.app.start()),
            asyncio.create_task(self._watchdog.run()),
            asyncio.create_task(self._monitor.run()),
            asyncio.create_task(self._sweeper.run()),
            asyncio.create_task(self._healer.run()),
        ]
        stopped = asyncio.create_task(stop.wait())
        crashed = asyncio.create_task(self.app.wait_until_stopped())
        waiting = {*parts, stopped, crashed}
        failure: Exception | None = None
        try:
            while not (stopped.done() or crashed.done()):
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        except Exception as error:
            failure = error
        if isinstance(self.app.crash_reason, Exception):
            failure = self.app.crash_reason
        if failure:  # when it has crashed, Faust can neither be stopped nor be cancelled
            force_exit_after(CRASH_SECONDS, failure)
            raise failure
        force_exit_after(STOP_SECONDS, None)
        for task in (*parts[1:], stopped, crashed):
            task.cancel()
        await self.app.stop()
        parts[0].cancel()
        await self._reader.close()

    async def _consume(self, stream: StreamT[Any]) -> None:
        """Process batches, those of a partition number one after another; one that hangs stops no others."""
        async for event in stream.noack().events():  # type: ignore[attr-defined]
            self.table.consumer.start_batch(event.message)
            task = asyncio.create_task(self._process(event))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _process(self, event: EventT[Any]) -> None:
        batch: Batch = event.message.value  # type: ignore[assignment]
        try:
            with STREAMS_BATCH_SECONDS.time(), suppress(Fenced):  # the next owner reads it again
                await self._merge(event.message.tp, batch)
                batch.done = True
        except Exception as error:
            await self.app.crash(error)
            return
        event.ack()

    async def _merge(self, tp: TP, batch: Batch) -> None:
        async with self.table.lock(tp.partition):
            if self.app.rebalancing:
                raise Fenced
            async with self._merging:  # one at a time, while others are being written
                changes, rejected = await self._correlate(tp, batch)
            if rejected:
                await self._reject(tp.partition, rejected)
            await self.table.write(tp.partition, changes)
        MERGED.labels(tp.topic).inc(len(batch.records) - len(rejected))

    async def _correlate(self, tp: TP, batch: Batch) -> tuple[dict[bytes, Change], list[Rejected]]:
        changes: dict[bytes, Change] = {}
        rejected: list[Rejected] = []
        records = iter(by_key(batch.records).items())
        while page := dict(islice(records, KEYS_AT_ONCE)):
            known = self.table.load(tp.partition, list(page))
            found = correlate(self._cluster, tp.topic, tp.partition, page, known)
            changes |= found.changes
            rejected += found.rejected
            await asyncio.sleep(0)
        return changes, rejected

    async def _reject(self, partition: int, rejected: Sequence[Rejected]) -> None:
        records = [(one.rejection_id.encode(), encode(one)) for one in rejected]
        await self.table.insist(partition, lambda _: self.table.producer.append(REJECTED, records))
        for one in rejected:
            REJECTED_COUNT.labels("streams", one.reason).inc()

    def _membership(self) -> Membership | None:
        return self.table.consumer.thread.membership if self.app.consumer else None

    async def _settle(self, *_: Any, **__: Any) -> None:
        await self.table.settle()
        self._watermark.reset()


def _folder(states: Path, cluster: str) -> Path:
    """The folder for this cluster's states. Those of another cluster are of no use, and are removed."""
    folder = states / quote(cluster, safe="")
    folder.mkdir(parents=True, exist_ok=True)
    for other in states.iterdir():
        if other != folder and other.is_dir():
            log.warning("States of another cluster are removed: they are in its topics", folder=str(other))
            shutil.rmtree(other, ignore_errors=True)
    return folder


def _opener(settings: Settings, folder: Path) -> Callable[[int], StateStore]:
    if settings.store == "memory":
        return lambda _: MemoryStore()
    states = RocksFolder(folder)
    return lambda partition: WriteCache(states.open(partition))

"""A worker of streams: takes batches of postbacks, merges them, writes what changed, then acknowledges.

Here the parts are put together, and a batch goes its way through them. Faust assigns partitions, fills the
table from its log, and brings batches; it runs inside our own event loop.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import deque
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
from runtime.metrics import MERGED, STREAMS_BATCH_SECONDS
from runtime.metrics import REJECTED as REJECTED_COUNT
from runtime.ops import Health
from runtime.process import end_anyway
from runtime.settings import Settings
from streams.app import faust_app
from streams.change import Change
from streams.correlate import by_key, correlate
from streams.healer import Healer
from streams.lately import Lately
from streams.progress import Horizon
from streams.rocksdb import RocksFolder
from streams.store import MemoryStore, StateStore
from streams.sweeper import Sweeper
from streams.table import MessagesTable, Superseded
from streams.transport import Batch
from streams.watch import Watch

log = structlog.get_logger(__name__)

STOP_SECONDS, CRASH_SECONDS = 20.0, 1.0
#: Of which all but one are being written; and how much of one is merged before others get their turn.
BATCHES_AT_ONCE, KEYS_AT_ONCE = 3, 500


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
        self._horizon: Horizon[TP] = Horizon()
        self._sweeper = Sweeper(
            self.table,
            self._horizon,
            timedelta(seconds=settings.overdue_after),
            timedelta(seconds=settings.forget_after),
        )
        self._watch = Watch(self.app, self.table, options, health, self._horizon, clock, settings.stall_after)
        self._healer = Healer(self.table, options)
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
            Stalled: there was work and nothing moved.
        """
        parts = [
            asyncio.create_task(self.app.start()),
            asyncio.create_task(self._watch.run()),
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
            end_anyway(CRASH_SECONDS, failure)
            raise failure
        end_anyway(STOP_SECONDS, None)
        for task in (*parts[1:], stopped, crashed):
            task.cancel()
        await self.app.stop()
        parts[0].cancel()

    async def _consume(self, stream: StreamT[Any]) -> None:
        """Merge a batch while the one before is being written; they are acknowledged in their order."""
        under_way: deque[asyncio.Task[None]] = deque()
        async for event in stream.noack().events():  # type: ignore[attr-defined]
            before = under_way[-1] if under_way else None
            under_way.append(asyncio.create_task(self._take(event, before)))
            if len(under_way) == BATCHES_AT_ONCE:
                await under_way.popleft()

    async def _take(self, event: EventT[Any], before: asyncio.Task[None] | None) -> None:
        batch: Batch = event.message.value  # type: ignore[assignment]
        try:
            with STREAMS_BATCH_SECONDS.time(), suppress(Superseded):  # who has it next reads it again
                await self._merge(event.message.tp, batch)
                batch.done = True
        except Exception as error:
            await self.app.crash(error)
            return
        if before:
            await before
        event.ack()

    async def _merge(self, tp: TP, batch: Batch) -> None:
        rejected: list[Rejected] = []
        changes: dict[bytes, Change] = {}
        async with self.table.lock(tp.partition):
            records = iter(by_key(batch.records).items())
            while portion := dict(islice(records, KEYS_AT_ONCE)):
                known = self.table.load(tp.partition, list(portion))
                found = correlate(self._cluster, tp.topic, tp.partition, portion, known)
                changes |= found.changes
                rejected += found.rejected
                await asyncio.sleep(0)  # the batch before is on its way to Kafka meanwhile
            if rejected:
                await self._reject(rejected)
            await self.table.write(tp.partition, changes)
        MERGED.labels(tp.topic).inc(len(batch.records) - len(rejected))

    async def _reject(self, rejected: Sequence[Rejected]) -> None:
        records = [(one.rejection_id.encode(), encode(one)) for one in rejected]
        await self.table.insist(lambda _: self.table.producer.append(REJECTED, records))
        for one in rejected:
            REJECTED_COUNT.labels("streams", one.reason).inc()

    async def _settle(self, *_: Any, **__: Any) -> None:
        await self.table.settle()
        self._horizon.forget()


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
    return lambda partition: Lately(states.open(partition))

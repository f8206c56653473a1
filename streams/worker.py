"""One streams worker: merges batches of postbacks into states, writes the changes, then acknowledges.

Faust assigns partitions, restores the table from its changelog and delivers batches. It runs in our own event
loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from faust.types import TP, EventT, StreamT

from gateway.postback import encode
from gateway.rejected import REJECTED, Rejected
from gateway.submission import SUBMISSIONS
from runtime.kafka.consumer_group import TopicPartition
from runtime.kafka.membership import Membership
from runtime.metrics import MERGED, STREAMS_BATCH_SECONDS
from runtime.metrics import REJECTIONS as REJECTED_COUNT
from runtime.process import force_exit_after
from streams.correlate import correlate, group_by_key
from streams.message import INPUTS
from streams.state.spec import Change
from streams.state.table import Fenced, StateTable
from streams.state.writer import StateWriter
from streams.transport.app import consumer_of, records_to_restore
from streams.transport.consumer import Batch
from streams.watchdog import WorkerStatus
from streams.watermark import Watermark

#: Seconds for a shutdown, and for one after a crash.
SHUTDOWN_TIMEOUT, CRASH_TIMEOUT = 20.0, 1.0
#: Keys merged between yields to the event loop.
PAGE_SIZE = 500


class Worker:
    """A member of the group `streams`."""

    def __init__(
        self,
        cluster: str,
        table: StateTable,
        writer: StateWriter,
        watermark: Watermark,
    ) -> None:
        """Subscribe the table's app to its input topics; connects to nothing.

        Args:
            cluster: the cluster's id, part of the ids of rejections.
            watermark: reset when partitions are revoked.
        """
        self._cluster = cluster
        self._app = app = table.app
        self._table = table
        self._writer = writer
        self._watermark = watermark
        self._tasks: set[asyncio.Task[None]] = set()
        self._merging = asyncio.Lock()
        #: Called with a partition and its states that were merged with a submission, once they are stored.
        self.on_submitted: Callable[[int, Iterable[tuple[bytes, bytes]]], None] = lambda _, __: None
        inputs = app.topic(
            *INPUTS, key_serializer="raw", value_serializer="raw", key_type=bytes, value_type=bytes
        )
        app.agent(inputs, name="correlate")(self._consume)
        app.on_partitions_revoked.connect(self._on_revoked)

    async def run(self, stop: asyncio.Event, *background: Coroutine[Any, Any, None]) -> None:
        """Process batches until `stop` is set, then leave the group.

        Args:
            background: run meanwhile; an error of one ends the worker.

        Raises:
            StartupError: this code cannot read the states, or not store them here.
            Stalled: there is work, and nothing progresses.
        """
        app = asyncio.create_task(self._app.start())
        tasks = [asyncio.create_task(coroutine) for coroutine in background]
        stopped = asyncio.create_task(stop.wait())
        crashed = asyncio.create_task(self._app.wait_until_stopped())
        pending: set[asyncio.Task[Any]] = {app, *tasks, stopped, crashed}
        failure: Exception | None = None
        try:
            while not (stopped.done() or crashed.done()):
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        except Exception as error:
            failure = error
        if isinstance(self._app.crash_reason, Exception):
            failure = self._app.crash_reason
        if failure:  # after a crash, Faust can neither be stopped nor be cancelled
            force_exit_after(CRASH_TIMEOUT, failure)
            raise failure
        force_exit_after(SHUTDOWN_TIMEOUT, None)
        for task in (*tasks, stopped, crashed):
            task.cancel()
        await self._app.stop()
        app.cancel()

    def membership(self) -> Membership | None:
        """The membership in the group; None until the consumer has started."""
        return consumer_of(self._app).thread.membership if self._app.consumer else None

    def status(self) -> WorkerStatus:
        """The worker's progress, for its watchdog."""
        offsets = consumer_of(self._app).tracker.offsets if self._app.consumer else {}
        return WorkerStatus(
            processed={TopicPartition(*tp): offset for tp, offset in offsets.items()},
            assignments=self._app.rebalancing_count,
            is_rebalancing=self._app.rebalancing,
            to_restore=records_to_restore(self._app),
            retrying=dict(self._writer.retrying),
            changelog_position=sum(state.position for state in self._table.states.by_partition.values()),
            states=sum(self._table.partition_state(number).store.count() for number in self._table.ready),
        )

    async def _consume(self, stream: StreamT[Any]) -> None:
        """Process batches concurrently, those of a partition number one at a time: none blocks the others."""
        async for event in stream.noack().events():  # type: ignore[attr-defined]
            consumer_of(self._app).start_batch(event.message)
            task = asyncio.create_task(self._process(event))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _process(self, event: EventT[Any]) -> None:
        batch: Batch = event.message.value  # type: ignore[assignment]
        try:
            with STREAMS_BATCH_SECONDS.time(), suppress(Fenced):  # the next owner fetches it again
                await self._merge(event.message.tp, batch)
                batch.done = True
        except Exception as error:
            await self._app.crash(error)
            return
        event.ack()

    async def _merge(self, tp: TP, batch: Batch) -> None:
        async with self._table.lock(tp.partition):
            if self._app.rebalancing:
                raise Fenced
            async with self._merging:  # one batch merges while others are being written
                changes, rejected = await self._correlate(tp, batch)
            if rejected:
                await self._reject(tp.partition, rejected)
            await self._writer.write(tp.partition, changes)
            if tp.topic == SUBMISSIONS:
                self.on_submitted(
                    tp.partition, [(key, change.value) for key, change in changes.items() if change.value]
                )
        MERGED.labels(tp.topic).inc(len(batch.records) - len(rejected))

    async def _correlate(self, tp: TP, batch: Batch) -> tuple[dict[bytes, Change], list[Rejected]]:
        changes: dict[bytes, Change] = {}
        rejected: list[Rejected] = []
        by_key = iter(group_by_key(batch.records).items())
        while page := dict(islice(by_key, PAGE_SIZE)):
            known = self._table.partition_state(tp.partition).store.load(list(page))
            now = datetime.now(UTC)
            correlated = correlate(self._cluster, tp.topic, tp.partition, page, known, now)
            changes |= correlated.changes
            rejected += correlated.rejected
            await asyncio.sleep(0)
        return changes, rejected

    async def _reject(self, partition: int, rejected: Sequence[Rejected]) -> None:
        records = [(rejection.rejection_id.encode(), encode(rejection)) for rejection in rejected]
        await self._writer.append(partition, REJECTED, records)
        for rejection in rejected:
            REJECTED_COUNT.labels("streams", rejection.reason).inc()

    async def _on_revoked(self, *_: Any, **__: Any) -> None:
        await self._table.flush()
        self._watermark.reset()

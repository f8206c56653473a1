"""Merges batches of some inputs into one table, writes the changes, then acknowledges."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from faust.types import TP, EventT, StreamT

from gateway.postback import encode
from gateway.rejected import REJECTED, Rejected
from runtime.metrics import MERGED, STREAMS_BATCH_SECONDS
from runtime.metrics import REJECTIONS as REJECTED_COUNT
from streams.records import Appended, Correlate, Correlated, group_by_key
from streams.state.spec import Change
from streams.state.table import Fenced, StateTable
from streams.state.writer import StateWriter
from streams.transport.app import consumer_of
from streams.transport.consumer import Batch
from streams.watermark import Watermark

#: Keys merged between yields to the event loop.
PAGE_SIZE = 500


class Correlation:
    """One table of a worker, and what its states follow from."""

    def __init__(
        self,
        cluster: str,
        table: StateTable,
        writer: StateWriter,
        correlate: Correlate,
        merging: asyncio.Lock,
    ) -> None:
        """Subscribe the table's app to the table's inputs; connects to nothing.

        Args:
            cluster: the cluster's id, part of the ids of rejections.
            merging: shared by all correlations of a worker, which compute one at a time.
        """
        self.table = table
        self.writer = writer
        #: How much of the inputs is processed.
        self.watermark = Watermark()
        #: Called with an input, a partition and the changes that were merged from it, once they are stored.
        self.on_merged: Callable[[str, int, Mapping[bytes, Change]], None] = lambda _, __, ___: None
        self._cluster = cluster
        self._app = app = table.app
        self._correlate = correlate
        self._merging = merging
        self._tasks: set[asyncio.Task[None]] = set()
        inputs = app.topic(
            *table.spec.inputs, key_serializer="raw", value_serializer="raw", key_type=bytes, value_type=bytes
        )
        app.agent(inputs, name=f"correlate_{table.spec.topic}")(self._consume)

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
        async with self.table.lock(tp.partition):
            if self._app.rebalancing:
                raise Fenced
            async with self._merging:  # one batch merges while others are being written
                correlated = await self._correlate_pages(tp, batch)
            await self._reject(tp.partition, correlated.rejected)
            await self._append(tp.partition, correlated.appended)
            await self.writer.write(tp.partition, correlated.changes)
            self.on_merged(tp.topic, tp.partition, correlated.changes)
        MERGED.labels(tp.topic).inc(len(batch.records) - len(correlated.rejected))

    async def _correlate_pages(self, tp: TP, batch: Batch) -> Correlated:
        whole = Correlated({}, [], [])
        by_key = iter(group_by_key(batch.records).items())
        while page := dict(islice(by_key, PAGE_SIZE)):
            known = self.table.partition_state(tp.partition).store.load(list(page))
            now = datetime.now(UTC)
            correlated = self._correlate(self._cluster, tp.topic, tp.partition, page, known, now)
            whole.changes.update(correlated.changes)
            whole.rejected.extend(correlated.rejected)
            whole.appended.extend(correlated.appended)
            await asyncio.sleep(0)
        return whole

    async def _reject(self, partition: int, rejected: Sequence[Rejected]) -> None:
        records = [
            Appended(REJECTED, rejection.rejection_id.encode(), encode(rejection)) for rejection in rejected
        ]
        await self._append(partition, records)
        for rejection in rejected:
            REJECTED_COUNT.labels("streams", rejection.reason).inc()

    async def _append(self, partition: int, records: Sequence[Appended]) -> None:
        by_topic: dict[str, list[tuple[bytes, bytes]]] = {}
        for topic, key, value in records:
            by_topic.setdefault(topic, []).append((key, value))
        for topic, pairs in by_topic.items():
            await self.writer.append(partition, topic, pairs)

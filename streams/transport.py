"""A Faust transport that hands over whole fetches, and commits without a hole.

An agent gets one event for each fetch and partition; its value is a `Batch`. What Faust may lose around a
rebalance is read again (`streams/frontier.py`), and only what was acknowledged in an unbroken run is
committed. Each commit that the group takes renews the lease to write (`streams/lease.py`).

Reaches into private parts of Faust and aiokafka, which are pinned to exact versions for that;
`tests/test_transport.py` names what a new version breaks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from time import monotonic
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import FetchResult, PartitionRecords
from aiokafka.errors import IllegalStateError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage, Message
from mode import Service

from streams.frontier import Frontier
from streams.lease import Lease
from streams.producer import BatchProducer
from streams.unpack import Unpacked

#: Kafka gathers as much before it answers, if it comes soon: a fetch costs all sides more than a record.
FETCH_LEAST_BYTES = 64 * 2**10
#: Of one answer, at most; it is held three times while it is taken apart.
FETCH_MOST_BYTES = 8 * 2**20

log = structlog.get_logger(__name__)


class Batch:
    """What one fetch brought for a partition: offsets `start` to before `end`, and the records among them.

    There are offsets without a record (ends of transactions, what compaction took), even at the end, so that
    a batch can be without any.
    """

    __slots__ = ("done", "end", "number", "records", "start")

    def __init__(self, records: list[Any], start: int, end: int) -> None:
        self.records = records
        self.start = start
        self.end = end
        #: Set when it is handed over, see `Frontier.delivered`.
        self.number = 0
        #: Set by who has merged it, before he acknowledges it; Faust also acknowledges what it skips.
        self.done = False


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Runs aiokafka's consumer in a thread of its own."""

    logger = logging.getLogger("faust.transport")

    async def stop(self) -> None:
        if self._started.is_set():
            await Service.stop(self)
            if self._thread:  # mode joins it in our loop, for whose answers the thread may wait
                await asyncio.to_thread(self._thread.stop)

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        assert isinstance(transport, Transport)
        consumer._fetch_min_bytes, consumer._fetch_max_bytes = FETCH_LEAST_BYTES, FETCH_MOST_BYTES
        consumer._fetch_max_wait_ms = round(transport.fetch_wait * 1000)
        return consumer

    async def _fetch_records(
        self,
        consumer: AIOKafkaConsumer,
        active_partitions: set[TP],
        timeout: float | None = None,
        max_records: int | None = None,
    ) -> dict[TP, list[Any]]:
        if fetched := await self._drain(consumer, active_partitions):
            return fetched
        news = consumer._fetcher._create_fetch_waiter()
        done, _ = await asyncio.wait([news], timeout=timeout)
        if not done:
            news.cancel()
            return {}
        news.result()  # raises what the fetcher cannot go on with
        return await self._drain(consumer, active_partitions)

    async def _drain(self, consumer: AIOKafkaConsumer, active_partitions: set[TP]) -> dict[TP, list[Any]]:
        """Take over what was fetched; as nothing is waited for, only that moves positions meanwhile."""
        if consumer._subscription.reassignment_in_progress:
            await consumer._subscription.wait_for_assignment()
        for result in consumer._fetcher._records.values():
            if isinstance(result, FetchResult) and isinstance(result._partition_records, PartitionRecords):
                result._partition_records = Unpacked(result._partition_records)
        before = _positions(consumer)
        fetched = await super()._fetch_records(consumer, active_partitions, timeout=0)
        return {
            tp: [Batch(fetched.get(tp, []), before[tp], end)]
            for tp, end in _positions(consumer).items()
            if end > before.get(tp, end)
        }


def _positions(consumer: AIOKafkaConsumer) -> dict[TP, int]:
    subscription = consumer._subscription.subscription
    assignment = subscription and subscription.assignment
    if not assignment:
        return {}
    states = {tp: assignment.state_value(tp) for tp in assignment.tps}
    return {TP(*tp): state.position for tp, state in states.items() if state.has_valid_position}


class BatchConsumer(driver.Consumer):
    """Delivers batches, keeps the frontier and the lease."""

    logger = logging.getLogger("faust.transport")

    def __post_init__(self) -> None:
        self.frontier: Frontier[TP] = Frontier()
        self.lease = Lease(self.app.conf.broker_session_timeout)
        #: Where the logs of partitions begin, as far as somebody asked.
        self.log_starts: dict[TP, int] = {}

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    # -- reading

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        batch: Batch = record
        batch.number = self.frontier.delivered(tp, batch.end, monotonic())
        time_ms = batch.records[-1].timestamp if batch.records else 0
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            batch.end - 1,
            time_ms / 1000,
            0,
            None,
            None,
            batch,  # type: ignore[arg-type]
            None,
            0,
            0,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        if missing := self.frontier.missing(monotonic()):
            await self._go_back(missing)
        fetched = await super()._getmany(active_partitions, timeout)
        if fetched and not self.flow_active:  # Faust would drop it
            await self._move({tp: batches[0].start for tp, batches in fetched.items()})
            return {}
        return fetched

    async def _go_back(self, offsets: Mapping[TP, int]) -> None:
        """Read again from there, or from where the log begins by now."""
        log.warning("Reading again what was not acknowledged", offsets=_readable(offsets))
        for tp, start in (await self.earliest_offsets(*offsets)).items():
            self._note_log_start(tp, start)
        await self._move({tp: self.frontier.offsets.get(tp, offset) for tp, offset in offsets.items()})

    async def _move(self, offsets: Mapping[TP, int]) -> None:
        try:
            await self.seek_wait(offsets)
        except IllegalStateError:
            log.info("Assigned to another by now", offsets=_readable(offsets))

    async def perform_seek(self) -> None:
        """After recovery: go to what is committed, and where nothing is, to the beginning."""
        if self.flow_active:
            self.stop_flow()  # recovery resumes it when it has emptied all queues
        await super().perform_seek()
        inputs = {tp for tp in self.assignment() if not self._is_changelog_tp(tp)}
        starts = await self.earliest_offsets(*inputs) if inputs else {}
        committed = {tp: self._committed_offset[tp] for tp in inputs}
        self.frontier.begin({tp: starts[tp] if at is None else at for tp, at in committed.items()})
        for tp in inputs:
            self._note_log_start(tp, starts[tp])
        if moved := {tp: at for tp, at in self.frontier.offsets.items() if at != committed[tp]}:
            await self.seek_wait(moved)

    def _note_log_start(self, tp: TP, start: int) -> None:
        if gone := self.frontier.truncated(tp, start):
            log.error(
                "Kafka deleted records before they were read",
                topic=tp.topic,
                partition=tp.partition,
                offsets=gone,
            )

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        starts = await super().earliest_offsets(*partitions)
        self.log_starts.update({TP(*tp): start for tp, start in starts.items()})
        return starts

    # -- acknowledging

    def ack(self, message: Message) -> bool:
        counted = super().ack(message)
        if message.generation_id == self.app.consumer_generation_id:
            batch: Batch = message.value  # type: ignore[assignment]
            if batch.done:
                self.frontier.acknowledged(message.tp, batch.start, batch.end, batch.number, monotonic())
            else:
                self.frontier.refused(message.tp)
        return counted

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Batches tell gaps themselves."""

    def _new_offset(self, tp: TP) -> int | None:
        self._acked[tp].clear()
        self._acked_index[tp].clear()
        return self.frontier.offsets.get(tp)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        ours = {tp: offset for tp, offset in offsets.items() if tp in self.assignment()}
        if not ours:  # the group would not be asked
            return False
        asked_at = monotonic()
        done = await super()._commit(ours)
        if done:
            self.lease.renew(asked_at)
        return done

    async def may_write(self) -> float:
        """For how many seconds writes may still go out; 0 when the partitions are no longer surely ours."""
        if self.lease.needs_renewal(monotonic()) and not await self._commit(self.frontier.offsets):
            return 0.0
        return self.lease.left(monotonic())

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        await super().on_partitions_revoked(revoked)
        self.frontier.begin({})
        self.lease.end()


def _readable(offsets: Mapping[TP, int]) -> dict[str, int]:
    return {f"{tp.topic}-{tp.partition}": offset for tp, offset in sorted(offsets.items())}


class Transport(driver.Transport):
    Consumer = BatchConsumer
    Producer = BatchProducer

    def __init__(self, *args: Any, fetch_wait: float, **options: Any) -> None:
        """
        Args:
            fetch_wait: seconds Kafka may wait for news of idle partitions, while aiokafka asks that broker
                for no other: Faust's 1.5 stalls the busy ones.
        """
        super().__init__(*args, **options)
        self.fetch_wait = fetch_wait

"""A Faust transport that delivers whole fetches, and commits only offsets before which everything is done.

An agent gets one event for each fetch and partition, with a `Batch` as its value. A partition has at most one
batch in the agent at a time, so that a slow partition does not block the others. Batches that Faust drops
around a rebalance are fetched again, and only offsets without a gap before them are committed
(`streams/transport/commit_tracker.py`). Each commit that the group accepts renews the lease to write
(`streams/transport/lease.py`).

Reaches into private parts of Faust and aiokafka, which are therefore pinned to exact versions;
`tests/streams/test_transport.py` names what an upgrade breaks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from time import monotonic
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import FetchResult, PartitionRecords
from aiokafka.errors import IllegalStateError
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage, Message
from mode import Service

from runtime.kafka.commit_metadata import is_outdated
from runtime.kafka.membership import Membership
from streams.transport.commit_tracker import CommitTracker
from streams.transport.fetch import UnpackedRecords
from streams.transport.lease import Lease
from streams.transport.producer import BatchProducer, connect

#: Bytes that a broker waits for, up to `fetch_wait`: a fetch costs more than a record on both sides.
FETCH_MIN_BYTES = 64 * 2**10
#: Limit of one response, which is in memory three times while it is unpacked.
FETCH_MAX_BYTES = 8 * 2**20
#: Batches in the agent at a time; those delivered more than `SLOW_AFTER` seconds ago do not count.
MAX_IN_FLIGHT, SLOW_AFTER = 8, 2.0

log = structlog.get_logger(__name__)


class Batch:
    """What one fetch returned for a partition: offsets `start` to before `end`, and their records.

    Not every offset has a record (transaction markers, compaction), so a batch may have no records at all.
    """

    __slots__ = ("delivery", "done", "end", "records", "start")

    def __init__(self, records: list[Any], start: int, end: int) -> None:
        self.records = records
        self.start = start
        self.end = end
        #: Number of its delivery (`CommitTracker.deliver`); 0 before that.
        self.delivery = 0
        #: Set once it is merged and written; Faust also acknowledges batches that it skips.
        self.done = False


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Runs aiokafka's consumer in a thread of its own."""

    logger = logging.getLogger("faust.transport")

    transport: Transport
    #: The consumer's membership in its group; None before it has started.
    membership: Membership | None = None

    async def on_start(self) -> None:
        self._woken = asyncio.Event()
        await connect(super().on_start, lambda: self._ensure_consumer().start())
        self.membership = Membership(self._consumer, self.transport.partitions)

    async def stop(self) -> None:
        if self._started.is_set():
            await Service.stop(self)
            if self._thread:  # mode would join it in our event loop, which the thread may be waiting for
                await asyncio.to_thread(self._thread.stop)

    def wake(self) -> None:
        """End a waiting `fetch`, as other partitions have become free. Thread-safe."""
        if self._started.is_set():
            self.thread_loop.call_soon_threadsafe(self._woken.set)

    async def fetch(self, partitions: set[TP], limit: int, timeout: float) -> dict[TP, list[Any]]:
        """Fetch one batch from each of these partitions that has records, at most `limit` in total.

        Returns an empty dictionary after `timeout` seconds without records, or when `wake` is called.
        """
        batches: dict[TP, list[Any]] = await self.call_thread(self._fetch, partitions, limit, timeout)
        return batches

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_min_bytes, consumer._fetch_max_bytes = FETCH_MIN_BYTES, FETCH_MAX_BYTES
        consumer._fetch_max_wait_ms = round(self.transport.fetch_wait * 1000)
        commit, metadata = consumer.commit, self.transport.commit_metadata
        consumer.commit = lambda offsets: commit(
            {tp: OffsetAndMetadata(committed.offset, metadata[tp.topic]) for tp, committed in offsets.items()}
        )
        return consumer

    async def committed_metadata(self, partitions: Iterable[TP]) -> dict[TP, str]:
        """The metadata of the group's commits, of those partitions that have one."""
        coordinator = self._ensure_consumer()._coordinator
        committed = await self.call_thread(coordinator.fetch_committed_offsets, list(partitions))
        return {TP(*tp): found.metadata or "" for tp, found in committed.items()}

    async def _fetch(self, partitions: set[TP], limit: int, timeout: float) -> dict[TP, list[Any]]:
        consumer = self._ensure_consumer()
        if fetched := await self._drain(consumer, partitions, limit):
            return fetched
        arrived = consumer._fetcher._create_fetch_waiter()
        woken = asyncio.ensure_future(self._woken.wait())
        await asyncio.wait([arrived, woken], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        woken.cancel()
        self._woken.clear()
        if not arrived.done():
            arrived.cancel()
            return {}
        arrived.result()  # raises the fetcher's errors
        return await self._drain(consumer, partitions, limit)

    async def _drain(
        self, consumer: AIOKafkaConsumer, partitions: set[TP], limit: int
    ) -> dict[TP, list[Any]]:
        """Take what is already fetched. Does not wait, so nothing else moves the positions meanwhile."""
        if consumer._subscription.reassignment_in_progress:
            await consumer._subscription.wait_for_assignment()
        fetcher = consumer._fetcher
        ready = [tp for tp in fetcher._records if tp in partitions][:limit]
        if not ready:  # for aiokafka an empty set means all partitions
            return {}
        for result in map(fetcher._records.get, ready):
            if isinstance(result, FetchResult) and isinstance(result._partition_records, PartitionRecords):
                result._partition_records = UnpackedRecords(result._partition_records)
        before = _positions(consumer)
        fetched = await super()._fetch_records(consumer, set(ready), timeout=0)
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
    """Delivers batches; owns the commit tracker and the lease."""

    logger = logging.getLogger("faust.transport")

    def __post_init__(self) -> None:
        self.tracker: CommitTracker[TP] = CommitTracker()
        self.lease = Lease(self.app.conf.broker_session_timeout)
        #: Offsets that the group has accepted in this assignment.
        self._committed: dict[TP, int] = {}
        self._committing = asyncio.Lock()
        #: What the last fetch returned; Faust may drop some of it before delivery.
        self._fetched: dict[TP, list[Any]] = {}
        #: Log start offsets, of partitions for which `earliest_offsets` was called.
        self.log_starts: dict[TP, int] = {}

    def _new_consumer_thread(self) -> ConsumerThread:
        self.thread = ConsumerThread(self, loop=self.loop, beacon=self.beacon)
        return self.thread

    # -- fetching

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        batch: Batch = record
        batch.delivery = self.tracker.deliver(tp, monotonic())
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            offset=batch.end - 1,
            timestamp=batch.records[-1].timestamp / 1000 if batch.records else 0,
            timestamp_type=0,
            headers=None,
            key=None,
            value=record,
            checksum=None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        now = monotonic()
        for tp, batches in self._fetched.items():
            if not batches[0].delivery:
                self.tracker.drop(tp)
        self._fetched = {}
        if rewinds := self.tracker.take_rewinds(now):
            await self._rewind(rewinds)
        free = {tp for tp in active_partitions or () if not self.tracker.is_busy(tp)}
        limit = max(0, MAX_IN_FLIGHT - self.tracker.in_flight(now - SLOW_AFTER))
        fetched = await self.thread.fetch(free, limit, min(timeout, SLOW_AFTER))
        if fetched and not self.flow_active:  # Faust would drop it
            await self._seek_if_assigned({tp: batches[0].start for tp, batches in fetched.items()})
            return {}
        self._fetched = fetched
        return fetched

    async def _rewind(self, offsets: Mapping[TP, int]) -> None:
        """Seek to these offsets, or to the log's start if retention has deleted them."""
        log.warning("Rewinding to the last processed offset", offsets=_readable(offsets))
        for tp, start in (await self.earliest_offsets(*offsets)).items():
            self._note_log_start(tp, start)
        await self._seek_if_assigned(
            {tp: self.tracker.offsets.get(tp, offset) for tp, offset in offsets.items()}
        )

    async def _seek_if_assigned(self, offsets: Mapping[TP, int]) -> None:
        try:
            await self.seek_wait(offsets)
        except IllegalStateError:
            log.info("Partitions are no longer assigned", offsets=_readable(offsets))

    async def perform_seek(self) -> None:
        """After recovery, seek to the committed offsets, or else to the logs' start."""
        if self.flow_active:
            self.stop_flow()  # recovery resumes it after it has cleared all queues
        await super().perform_seek()
        inputs = {tp for tp in self.assignment() if not self._is_changelog_tp(tp)}
        starts = await self.earliest_offsets(*inputs) if inputs else {}
        relabel = await self._drop_outdated(inputs)
        committed = {tp: self._committed_offset[tp] for tp in inputs}
        self._committed = {
            tp: offset for tp, offset in committed.items() if offset is not None and tp not in relabel
        }
        self.tracker.assign(
            {tp: starts[tp] if offset is None else offset for tp, offset in committed.items()}
        )
        for tp in inputs:
            self._note_log_start(tp, starts[tp])
        if moved := {tp: offset for tp, offset in self.tracker.offsets.items() if offset != committed[tp]}:
            await self.seek_wait(moved)

    async def _drop_outdated(self, inputs: set[TP]) -> set[TP]:
        """Drop committed offsets that belong to an earlier topic of states, so that the inputs are read.

        Returns the inputs to commit although nothing was processed, as their commits lack the topic's id.
        """
        current = self.thread.transport.commit_metadata
        found = await self.thread.committed_metadata(inputs)
        if outdated := {tp for tp, metadata in found.items() if is_outdated(metadata, current[tp.topic])}:
            log.warning(
                "Reading inputs from their beginning: the topic of states is another one",
                topics=sorted({tp.topic for tp in outdated}),
            )
        for tp in outdated:
            self._committed_offset[tp] = None
        relabel = {tp for tp, metadata in found.items() if metadata != current[tp.topic]}
        for tp in relabel:
            self._acked[tp].clear()  # Faust commits those partitions that are keys of it
        return relabel

    def _note_log_start(self, tp: TP, start: int) -> None:
        if deleted := self.tracker.truncate(tp, start):
            log.error(
                "Kafka deleted records before they were read",
                topic=tp.topic,
                partition=tp.partition,
                offsets=deleted,
            )

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        starts = await super().earliest_offsets(*partitions)
        self.log_starts.update({TP(*tp): start for tp, start in starts.items()})
        return starts

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """Log ends of the changelog, which the table compares with its stores before they are restored."""
        ends = {TP(*tp): end for tp, end in (await super().highwaters(*partitions)).items()}
        for table in self.app.tables.values():
            await table.on_log_ends(ends)
        return ends

    # -- acknowledging

    def start_batch(self, message: Message) -> None:
        """Record that the agent processes the message's batch, which may take any time from now on."""
        batch: Batch = message.value  # type: ignore[assignment]
        self.tracker.start(message.tp, batch.delivery)

    def ack(self, message: Message) -> bool:
        counted = super().ack(message)
        if message.generation_id == self.app.consumer_generation_id:
            batch: Batch = message.value  # type: ignore[assignment]
            if batch.done:
                self.tracker.ack(message.tp, batch.start, batch.end, batch.delivery)
            else:
                self.tracker.nack(message.tp, batch.delivery)
            self.thread.wake()
        return counted

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Do nothing: batches have their own offset ranges."""

    def _filter_committable_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:
        """What is done of these partitions, and not committed: Faust would not retry a failed commit."""
        for tp in tps:
            self._acked[tp].clear()
            self._acked_index[tp].clear()
        done = self.tracker.offsets
        return {tp: done[tp] for tp in tps if done.get(tp, -1) > self._committed.get(tp, -1)}

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit what is done of these partitions by now; renews the lease if the group accepts it.

        One commit at a time: an earlier one that arrived later would move the group's offset back.
        """
        async with self._committing:
            done = self.tracker.offsets
            assigned = {tp: done[tp] for tp in offsets if tp in done and tp in self.assignment()}
            if not assigned:  # no request would be sent, so it would prove nothing
                return False
            sent_at = monotonic()
            accepted = await super()._commit(assigned)
            if accepted:
                self._committed |= assigned
                self.lease.renew(sent_at)
            return accepted

    async def commit_log_starts(self, inputs: set[TP]) -> bool:
        """Commit the logs' start of those inputs that are assigned; whether the group accepts it."""
        starts = await self.earliest_offsets(*(inputs & self.assignment()))
        async with self._committing:
            return await super()._commit({TP(*tp): start for tp, start in starts.items()})

    async def ensure_lease(self) -> float:
        """Renew the lease if necessary; returns the seconds that remain of it, 0 if it is lost."""
        if self.lease.needs_renewal(monotonic()) and not await self._commit(self.tracker.offsets):
            return 0.0
        return self.lease.remaining(monotonic())

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        await super().on_partitions_revoked(revoked)
        self._fetched, self._committed = {}, {}
        self.tracker.assign({})
        self.lease.release()


def _readable(offsets: Mapping[TP, int]) -> dict[str, int]:
    return {f"{tp.topic}-{tp.partition}": offset for tp, offset in sorted(offsets.items())}


class Transport(driver.Transport):
    Consumer = BatchConsumer
    Producer = BatchProducer

    def __init__(
        self,
        *args: Any,
        fetch_wait: float,
        partitions: Mapping[str, int],
        commit_metadata: Mapping[str, str],
        **options: Any,
    ) -> None:
        """
        Args:
            fetch_wait: seconds a broker may hold a fetch of idle partitions. Meanwhile aiokafka fetches no
                others from it, so Faust's default of 1.5 would delay the busy ones.
            partitions: partition count that each subscribed topic must have.
            commit_metadata: stored with each committed offset, by topic of the input
                (`runtime/kafka/commit_metadata.py`).
        """
        super().__init__(*args, **options)
        self.fetch_wait = fetch_wait
        self.partitions = partitions
        self.commit_metadata = commit_metadata

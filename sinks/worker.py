"""One member of the consumer group `sinks`: polls, batches, inserts concurrently, commits.

Memory is bounded: while IN_FLIGHT inserts are in flight it does not poll, and stays in the group. Offsets are
committed after ClickHouse has everything before them. Before partitions are revoked, in-flight inserts are
flushed, or discarded if that takes too long; the next owner polls the discarded records again.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from uuid import UUID

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata

from runtime.health import Health
from runtime.kafka import consumer_group
from runtime.kafka.commit_metadata import commit_metadata, is_outdated
from runtime.kafka.membership import Membership
from runtime.metrics import SINK_FRESHNESS
from runtime.process import first_completed
from sinks.batch import Batch, BatchLimits, Record
from sinks.commit_tracker import CommitTracker, PendingInsert
from sinks.rows import newest_time
from sinks.tables import TABLE_OF, TABLES, Table
from sinks.writer import ClickHouseWriter

#: Concurrent inserts; times the batches' bytes, the bound on a worker's memory.
IN_FLIGHT = 3
#: Seconds for the last inserts at shutdown; with those below less than what supervisors allow.
DRAIN_TIMEOUT = 10.0
#: Seconds for a commit (also the pause after a failed one), and for leaving the group.
COMMIT_TIMEOUT, CLOSE_TIMEOUT = 5.0, 5.0

log = structlog.get_logger(__name__)


class Worker(ConsumerRebalanceListener):  # type: ignore[misc]
    """Starts and stops the consumer that it is given."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        writer: ClickHouseWriter,
        limits: BatchLimits,
        flush_timeout: float,
        topics: Mapping[str, int],
        topic_ids: Mapping[str, UUID],
        health: Health,
    ) -> None:
        """
        Args:
            flush_timeout: seconds for in-flight inserts before a rebalance; less than the session timeout.
            topics: the topics to subscribe to, with their numbers of partitions.
            topic_ids: their ids, which are stored with commits; empty if the brokers have none.
        """
        self.consumer = consumer
        #: None before the consumer has started.
        self.membership: Membership | None = None
        self._topics = topics
        self._commit_metadata = {topic: commit_metadata(topic_ids.get(topic)) for topic in topics}
        self._writer = writer
        self._flush_timeout = flush_timeout
        self._health = health
        self._batches = {table: Batch(limits) for table in TABLES}
        self._max_records = limits.rows
        self._tracker = CommitTracker()
        #: Batches that wait for one of the inserts in flight.
        self._queue: deque[tuple[Table, list[Record], PendingInsert]] = deque()
        self._inserts: set[asyncio.Task[None]] = set()
        self._acked = asyncio.Event()
        #: Completes with an error that ends this worker.
        self._failed: asyncio.Future[None]
        self._newest: dict[Table, float] = {}
        for table in TABLES:
            SINK_FRESHNESS.labels(table.name).set_function(self._freshness_of(table))

    @property
    def attempts(self) -> int:
        """Grows while the worker inserts or retries; a watchdog's progress marker."""
        return self._writer.attempts

    @property
    def assigned(self) -> frozenset[consumer_group.TopicPartition]:
        """The partitions that this worker owns."""
        return frozenset(consumer_group.TopicPartition(*tp) for tp in self.consumer.assignment())

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set, then flush for up to DRAIN_TIMEOUT and leave the group.

        Raises:
            StartupError: the schema or the cluster has changed.
            aiokafka.errors.KafkaError: Kafka does not accept this member.
        """
        self._failed = asyncio.get_running_loop().create_future()
        await self.consumer.start()
        try:
            self.membership = Membership(self.consumer, self._topics)
            self.consumer.subscribe(list(self._topics), listener=self)
            await first_completed(stop.wait(), self._poll(), self._commit_acked(), self._failed)
            await self._flush(DRAIN_TIMEOUT)
            await self._commit()
        finally:
            self._discard()
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await self.consumer.stop()

    # -- rebalances

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self._health.down("partitions", "being assigned")
        await self._flush(self._flush_timeout)
        await self._commit()
        self._discard()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._discard()
        partitions = list(assigned)
        self.consumer.pause(*partitions)  # before an await: nothing is polled from positions that may change
        try:
            await self._rewind_outdated(partitions)
            self.consumer.resume(*partitions)
        except KafkaError as error:  # aiokafka would only log it
            self._fail(error)
            return
        self._health.up("partitions")
        log.info("Partitions assigned", partitions=len(partitions))

    async def _rewind_outdated(self, partitions: list[TopicPartition]) -> None:
        """Rewind partitions of topics that were deleted and created again since their last commit."""
        committed = await self.consumer._coordinator.fetch_committed_offsets(partitions)
        outdated = [
            partition
            for partition, found in committed.items()
            if is_outdated(found.metadata or "", self._commit_metadata[partition.topic])
        ]
        if outdated:
            log.warning("Topics were created again, reading from their beginning", partitions=len(outdated))
            for partition, start in (await self.consumer.beginning_offsets(outdated)).items():
                self.consumer.seek(partition, start)

    async def _flush(self, timeout: float) -> None:
        """Insert everything that is buffered; gives up after the timeout, or at once during an outage."""
        self._enqueue_due(float("inf"))
        while self._queue and not self._writer.unavailable:
            self._start_insert()
        if self._inserts and not self._writer.unavailable:
            await asyncio.wait(self._inserts, timeout=timeout)

    def _discard(self) -> None:
        """Drop everything that is buffered or in flight; it is not committed, so it is polled again."""
        for insert in self._inserts:
            insert.cancel()
        for batch in self._batches.values():
            batch.flush()
        self._queue.clear()
        self._tracker = CommitTracker()

    # -- committing

    async def _commit_acked(self) -> None:
        while True:
            await self._acked.wait()
            self._acked.clear()
            if not await self._commit():
                await asyncio.sleep(COMMIT_TIMEOUT)
                self._acked.set()

    async def _commit(self) -> bool:
        """Whether the commit succeeded; if not, its offsets stay committable."""
        tracker = self._tracker
        offsets = tracker.take_committable()
        try:
            if offsets:
                async with asyncio.timeout(COMMIT_TIMEOUT):
                    await self.consumer.commit(
                        {
                            partition: OffsetAndMetadata(offset, self._commit_metadata[partition.topic])
                            for partition, offset in offsets.items()
                        }
                    )
            return True
        except (KafkaError, IllegalStateError, TimeoutError) as error:
            log.debug("Commit failed", reason=str(error))
            tracker.restore(offsets)
            return False

    # -- polling and inserting

    async def _poll(self) -> None:
        while True:
            flush_at = min(batch.flush_at for batch in self._batches.values())
            seconds = min(max(flush_at - time.monotonic(), 0.0), 1.0)
            fetched: dict[TopicPartition, list[Record]] = await self.consumer.getmany(
                timeout_ms=int(seconds * 1000) + 1, max_records=self._max_records
            )
            # No await before the batches are tracked: a rebalance must not come in between.
            now = time.monotonic()
            for partition, records in fetched.items():
                table = TABLE_OF[partition.topic]
                for full in self._batches[table].append(records, now):
                    self._queue.append((table, full, self._tracker.track(full)))
            self._enqueue_due(now)
            while self._queue:
                if len(self._inserts) < IN_FLIGHT:
                    self._start_insert()
                else:
                    await asyncio.wait(self._inserts, return_when=asyncio.FIRST_COMPLETED)

    def _enqueue_due(self, now: float) -> None:
        """Queue the batches to flush by then."""
        for table, batch in self._batches.items():
            if batch.flush_at <= now and (records := batch.flush()):
                self._queue.append((table, records, self._tracker.track(records)))

    def _start_insert(self) -> None:
        table, records, pending = self._queue.popleft()
        insert = asyncio.create_task(self._insert(table, records, pending, self._tracker))
        self._inserts.add(insert)
        insert.add_done_callback(self._on_insert_done)

    async def _insert(
        self, table: Table, records: list[Record], pending: PendingInsert, tracker: CommitTracker
    ) -> None:
        await self._writer.write(table, records)
        tracker.ack(pending)
        if (newest := newest_time(records, time.time())) is not None:
            self._newest[table] = max(self._newest.get(table, 0.0), newest)
        self._acked.set()

    def _on_insert_done(self, insert: asyncio.Task[None]) -> None:
        self._inserts.discard(insert)
        if insert.cancelled() and insert.cancelling():
            return
        # A library may cancel it, too. Ignored, its offsets would never become committable.
        stray = RuntimeError("An insert was cancelled, not by this worker") if insert.cancelled() else None
        if error := stray or insert.exception():
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """End `run` with this error."""
        if not self._failed.done():
            self._failed.set_exception(error)

    def _freshness_of(self, table: Table) -> Callable[[], float]:
        return lambda: time.time() - self._newest[table] if table in self._newest else 0.0

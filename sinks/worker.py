"""One member of the group `sinks`: reads, gathers batches, stores several at a time, commits.

What is read is bounded: while as many inserts are under way as may be, nothing more is taken from Kafka, and
the member stays in its group. Offsets are committed only after everything before them is answered; at every
rebalance all that is under way is finished in time, or dropped and read again by whoever has the partition
next.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError

from runtime.health import Health
from runtime.kafka.membership import Membership
from runtime.metrics import SINK_FRESHNESS
from runtime.process import first_completed
from sinks.batch import Batch, BatchLimits
from sinks.commit_tracker import CommitTracker, PendingInsert
from sinks.freshness import received_at
from sinks.record import Record
from sinks.tables import TABLE_OF, TABLES, Table
from sinks.writer import ClickHouseWriter

#: Inserts under way at a time; with the batches' bytes this bounds what a worker holds.
IN_FLIGHT = 3
#: Seconds for what is under way to be stored at the end; with those below less than any supervisor waits.
DRAIN_SECONDS = 10.0
#: Seconds for Kafka to take a commit, and a good-bye.
COMMIT_SECONDS, LEAVE_SECONDS = 5.0, 5.0

log = structlog.get_logger(__name__)


class Worker(ConsumerRebalanceListener):  # type: ignore[misc]
    """Give it a consumer that is not started; it starts and stops it."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        store: ClickHouseWriter,
        limits: BatchLimits,
        settle_seconds: float,
        topics: Mapping[str, int],
        health: Health,
    ) -> None:
        """
        Args:
            settle_seconds: to finish pending inserts before partitions go; less than the session timeout.
            topics: what to subscribe to, with the numbers of partitions.
        """
        self.offsets = CommitTracker()
        self.consumer = consumer
        #: In the group; None before the consumer has started.
        self.membership: Membership | None = None
        self._topics = topics
        self._store = store
        self._settle_seconds = settle_seconds
        self._health = health
        self._batches = {table: Batch(limits) for table in TABLES}
        self._max_records = limits.rows
        self._full: deque[tuple[Table, list[Record], PendingInsert]] = deque()
        self._inserts: set[asyncio.Task[None]] = set()
        self._answered = asyncio.Event()
        self._failed: asyncio.Future[None]
        self._newest: dict[Table, float] = {}
        for table in TABLES:
            SINK_FRESHNESS.labels(table.name).set_function(self._freshness_of(table))

    @property
    def mark(self) -> int:
        """Differs whenever the worker has done something."""
        return self._store.tries

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then finish what is under way, if that is soon.

        Raises:
            Refused: the schema or the cluster is another one than it was.
            aiokafka.errors.KafkaError: Kafka will not have this member.
        """
        self._failed = asyncio.get_running_loop().create_future()
        await self.consumer.start()
        try:
            self.membership = Membership(self.consumer, self._topics)
            self.consumer.subscribe(list(self._topics), listener=self)
            await first_completed(stop.wait(), self._read(), self._commit(), self._failed)
            await self._settle(DRAIN_SECONDS)
            await self._commit_due()
        finally:
            self._drop()
            with suppress(TimeoutError):
                async with asyncio.timeout(LEAVE_SECONDS):
                    await self.consumer.stop()

    # -- rebalances

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self._health.down("partitions", "being assigned")
        await self._settle(self._settle_seconds)
        await self._commit_due()
        self._drop()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._drop()
        self._health.up("partitions")
        log.info("Partitions assigned", partitions=len(list(assigned)))

    async def _settle(self, seconds: float) -> None:
        """Store what waits and what is under way, unless that would be long."""
        self._take(float("inf"))
        while self._full and not self._store.waits:
            self._start()
        if self._inserts and not self._store.waits:
            await asyncio.wait(self._inserts, timeout=seconds)

    def _drop(self) -> None:
        """Forget what is under way; it was not committed, so it is read again."""
        for insert in self._inserts:
            insert.cancel()
        for batch in self._batches.values():
            batch.take()
        self._full.clear()
        self.offsets = CommitTracker()

    # -- committing

    async def _commit(self) -> None:
        while True:
            await self._answered.wait()
            self._answered.clear()
            if not await self._commit_due():
                await asyncio.sleep(COMMIT_SECONDS)
                self._answered.set()

    async def _commit_due(self) -> bool:
        """Whether Kafka took it; what it did not take is due again."""
        offsets = self.offsets
        due = offsets.take_due()
        try:
            if due:
                async with asyncio.timeout(COMMIT_SECONDS):
                    await self.consumer.commit({TopicPartition(*place): end for place, end in due.items()})
            return True
        except (KafkaError, IllegalStateError, TimeoutError) as error:
            log.debug("Not committed", why=str(error))
            offsets.give_back(due)
            return False

    # -- reading and storing

    async def _read(self) -> None:
        while True:
            due = min(batch.due for batch in self._batches.values())
            seconds = min(max(due - time.monotonic(), 0.0), 1.0)
            fetched: dict[TopicPartition, list[Record]] = await self.consumer.getmany(
                timeout_ms=int(seconds * 1000) + 1, max_records=self._max_records
            )
            # Not awaiting from here on: what was fetched belongs to the assignment of this moment.
            now = time.monotonic()
            for partition, records in fetched.items():
                table = TABLE_OF[partition.topic]
                for full in self._batches[table].add(records, now):
                    self._full.append((table, full, self.offsets.begin(full)))
            self._take(now)
            while self._full:
                if len(self._inserts) < IN_FLIGHT:
                    self._start()
                else:
                    await asyncio.wait(self._inserts, return_when=asyncio.FIRST_COMPLETED)

    def _take(self, now: float) -> None:
        """Take the batches that are due by then."""
        for table, batch in self._batches.items():
            if batch.due <= now and (records := batch.take()):
                self._full.append((table, records, self.offsets.begin(records)))

    def _start(self) -> None:
        table, records, ticket = self._full.popleft()
        insert = asyncio.create_task(self._insert(table, records, ticket, self.offsets))
        self._inserts.add(insert)
        insert.add_done_callback(self._ended)

    async def _insert(
        self, table: Table, records: list[Record], ticket: PendingInsert, offsets: CommitTracker
    ) -> None:
        await self._store.store(table, records)
        offsets.answer(ticket)
        self._newest[table] = max(self._newest.get(table, 0.0), received_at(records[-1]))
        self._answered.set()

    def _ended(self, insert: asyncio.Task[None]) -> None:
        self._inserts.discard(insert)
        if insert.cancelled() and insert.cancelling():
            return
        # Cancelled by nobody, it would be forgotten, and its offsets never be committed.
        stray = RuntimeError("An insert was cancelled by nobody") if insert.cancelled() else None
        if (error := stray or insert.exception()) and not self._failed.done():
            self._failed.set_exception(error)

    def _freshness_of(self, table: Table) -> Callable[[], float]:
        return lambda: time.time() - self._newest[table] if table in self._newest else 0.0

"""Sends buffered records: one produce request per broker at a time, with a batch of each partition it leads.

A short linger lets concurrent HTTP requests share a batch. Records that arrive while a broker's request is in
flight go with its next one, so requests grow with the load.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import structlog
from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.conn import CloseReason
from aiokafka.errors import (
    KafkaError,
    LeaderNotAvailableError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    UnknownError,
    for_code,
)
from aiokafka.protocol.produce import ProduceRequest

from gateway.kafka.buffer import PartitionBuffer, PendingRecord
from gateway.kafka.cloudevents import HeadersOf
from gateway.sink import TooLarge, Unavailable
from runtime.kafka.compression import Compression
from runtime.metrics import BATCH_RECORDS, PRODUCE_ERRORS

ALL_IN_SYNC = -1
TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)
#: Leader of a partition that has none, or that the client does not know.
NO_LEADER = (-1, None)
#: Share of the remaining time given to the broker, so that it reports per-partition timeouts before we drop
#: the connection.
BROKER_TIMEOUT_SHARE = 0.75
#: Minimum request timeout in seconds: a retried record with little time left must not shorten the others'
#: deadline.
MIN_REQUEST_TIMEOUT = 0.5
#: Seconds before a batch is retried: the broker may not know yet that it leads the partition.
RETRY_BACKOFF = 0.1
#: Consecutive failed requests after which the client is considered stuck.
MAX_CONSECUTIVE_FAILURES = 5

log = structlog.get_logger(__name__)


class Sender:
    """Buffers records per partition and sends, retries and completes their batches.

    A partition whose batch failed is closed: it rejects records until `reopen`.
    """

    def __init__(
        self, linger: float, ack_timeout: float, headers: HeadersOf, compression: Compression
    ) -> None:
        """
        Args:
            linger: seconds from a record's arrival to the request, so that others can join its batch.
            ack_timeout: seconds within which a record must be acknowledged.
            headers: builds the headers of a record.
            compression: of the batches.
        """
        #: Why each closed partition rejects records.
        self.errors: dict[TopicPartition, str] = {}
        #: Set while any partition is closed.
        self.failing = asyncio.Event()
        #: Loop time of the last acknowledgement.
        self.acknowledged_at = 0.0
        self.consecutive_failures = 0
        #: Set after MAX_CONSECUTIVE_FAILURES, until another client is used.
        self.stuck = False
        self._loop = asyncio.get_running_loop()
        self._linger = linger
        self._ack_timeout = ack_timeout
        self._headers = headers
        self._compression = compression
        self._client: AIOKafkaClient | None = None
        self._buffers: dict[tuple[str, int], PartitionBuffer] = {}
        #: Buffers that have records to send.
        self._due: set[PartitionBuffer] = set()
        #: Buffers whose batch is retried after the backoff.
        self._backing_off: set[PartitionBuffer] = set()
        self._timer: asyncio.TimerHandle | None = None
        #: The request in flight to each broker.
        self._requests: dict[int | None, asyncio.Task[None]] = {}
        self._idle = asyncio.Event()

    def use(self, client: AIOKafkaClient) -> None:
        """Send with this client from now on; requests in flight stay with the previous one."""
        self._client = client
        self.stuck, self.consecutive_failures = False, 0

    def put(self, topic: str, partition: int, key: bytes, value: bytes) -> asyncio.Future[None]:
        """Buffer a record. Needs a client (`use`).

        Returns:
            A future that completes once every in-sync replica has the record. It fails with Unavailable
            within the timeout plus MIN_REQUEST_TIMEOUT, with TooLarge if Kafka rejects the record's size.

        Raises:
            Unavailable: the partition is closed.
        """
        buffer = self._buffers.get((topic, partition))
        if buffer is None:
            buffer = PartitionBuffer(TopicPartition(topic, partition), self._headers, self._compression)
            self._buffers[topic, partition] = buffer
        if self.errors and buffer.partition in self.errors:
            raise Unavailable(self.errors[buffer.partition])
        acknowledged = self._loop.create_future()
        buffer.append(PendingRecord(key, value, self._loop.time() + self._ack_timeout, acknowledged))
        self._due.add(buffer)
        self._schedule()
        return acknowledged

    def reopen(self, partitions: Collection[TopicPartition]) -> None:
        """Accept records for these partitions again."""
        for partition in partitions:
            self.errors.pop(partition, None)
        if not self.errors:
            self.failing.clear()

    async def flush(self) -> None:
        """Return once no record is buffered or in flight."""
        while self._due or self._requests:
            self._idle.clear()
            await self._idle.wait()

    def _schedule(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(self._linger, self._send)

    def _send(self) -> None:
        """Start a request to each broker that has none in flight and leads partitions with records."""
        self._timer = None
        assert self._client
        cluster = self._client.cluster
        by_leader: dict[int | None, list[PartitionBuffer]] = defaultdict(list)
        for buffer in self._due:
            leader = cluster.leader_for_partition(buffer.partition)
            if leader not in self._requests and not buffer.in_flight and buffer not in self._backing_off:
                by_leader[leader].append(buffer)
        for leader, buffers in by_leader.items():
            self._due.difference_update(buffers)
            self._requests[leader] = self._loop.create_task(self._request(self._client, leader, buffers))

    async def _request(
        self, client: AIOKafkaClient, leader: int | None, buffers: Sequence[PartitionBuffer]
    ) -> None:
        failure: BaseException | None = None
        errors: Mapping[TopicPartition, BaseException | None] = {}
        try:
            batches = _build_batches(buffers)
            if leader in NO_LEADER:
                raise LeaderNotAvailableError
            left = min(buffer.deadline for buffer in buffers) - self._loop.time()
            timeout = max(left, min(MIN_REQUEST_TIMEOUT, self._ack_timeout))
            async with asyncio.timeout(timeout):
                broker_timeout_ms = int(timeout * BROKER_TIMEOUT_SHARE * 1000)
                request = ProduceRequest(None, ALL_IN_SYNC, broker_timeout_ms, batches)
                errors = _partition_errors(await client.send(leader, request))
        except TimeoutError:
            failure = TimeoutError(f"not acknowledged within {self._ack_timeout:g} s")
            _drop_connection(client, leader)
        except Exception as error:  # aiokafka also raises assertion and type errors of its own
            failure = error
        del self._requests[leader]
        unreported = UnknownError("the broker did not report on the partition")
        self._on_result({buffer: failure or errors.get(buffer.partition, unreported) for buffer in buffers})
        if self._due:
            self._schedule()
        elif not self._requests:
            self._idle.set()

    def _on_result(self, outcomes: Mapping[PartitionBuffer, BaseException | None]) -> None:
        """Complete, fail or retry the batches of a request, given the error of each."""
        assert self._client
        retries = [buffer for buffer, error in outcomes.items() if self._requeue_or_complete(buffer, error)]
        if retries:
            self._client.force_metadata_update()
            self._backing_off.update(retries)
            self._loop.call_later(RETRY_BACKOFF, self._resume, retries)
        if None in outcomes.values():
            self.consecutive_failures = 0
            self.acknowledged_at = self._loop.time()
        elif len(retries) < len(outcomes):
            self.consecutive_failures += 1
            self.stuck = self.stuck or self.consecutive_failures >= MAX_CONSECUTIVE_FAILURES

    def _requeue_or_complete(self, buffer: PartitionBuffer, error: BaseException | None) -> bool:
        """Requeue a batch that a leader may still accept in time, else complete it.

        Returns:
            Whether the batch was requeued.
        """
        retriable = isinstance(error, KafkaError) and error.retriable
        retry = retriable and buffer.deadline >= self._loop.time() + RETRY_BACKOFF
        if retry:
            buffer.requeue()
        elif isinstance(error, TOO_LARGE) and buffer.in_flight > 1:
            buffer.split()  # down to the one record that is too large
        elif isinstance(error, TOO_LARGE) and buffer.in_flight:
            buffer.complete(TooLarge(_describe(buffer.partition, error)))
        else:
            if buffer.in_flight:
                BATCH_RECORDS.observe(buffer.in_flight)
            if error is None:
                buffer.complete()
            else:
                self._close(buffer, error)
        if buffer.buffered:
            self._due.add(buffer)
        else:
            self._due.discard(buffer)
        return retry

    def _close(self, buffer: PartitionBuffer, error: BaseException) -> None:
        """Close the partition and fail its records: the buffered ones would only fail later."""
        reason = _describe(buffer.partition, error)
        PRODUCE_ERRORS.labels(type(error).__name__).inc()
        log.warning("Batch not acknowledged", partition=_name(buffer.partition), error=repr(error))
        self.errors[buffer.partition] = reason
        self.failing.set()
        buffer.abort(Unavailable(reason))

    def _resume(self, buffers: Sequence[PartitionBuffer]) -> None:
        self._backing_off.difference_update(buffers)
        self._schedule()


def _build_batches(buffers: Sequence[PartitionBuffer]) -> list[tuple[str, list[tuple[int, bytes]]]]:
    """The next batch of each buffer, grouped by topic as in a produce request."""
    batches: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
    for buffer in buffers:
        topic, partition = buffer.partition
        batches[topic].append((partition, buffer.build_batch()))
    return [*batches.items()]


def _partition_errors(response: Any) -> dict[TopicPartition, BaseException | None]:
    """The error of each partition in a produce response; None if every in-sync replica has the batch."""
    return {
        TopicPartition(topic, partition): for_code(code)() if code else None
        for topic, partitions in response.topics
        for partition, code, *_ in partitions
    }


def _drop_connection(client: AIOKafkaClient, leader: int | None) -> None:
    """New requests must not queue behind the abandoned one, and a dead broker must fail to connect."""
    if connection := client._conns.get((leader, ConnectionGroup.DEFAULT)):
        connection.close(reason=CloseReason.CONNECTION_TIMEOUT)


def _name(partition: TopicPartition) -> str:
    return f"{partition.topic}/{partition.partition}"


def _describe(partition: TopicPartition, error: BaseException) -> str:
    return f"{_name(partition)}: {str(error) or type(error).__name__}"

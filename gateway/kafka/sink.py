"""Puts records into Kafka and returns once every in-sync replica has them.

`gateway.kafka.sender` batches concurrent records per partition. A partition whose batch was not acknowledged
in time rejects records until its leader can be reached again; while no broker answers, all of them do.
Requests for an unavailable partition fail fast.

A record that was not acknowledged in time may be in Kafka all the same. A retry then duplicates it, which is
harmless: both have the same event_id.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Self

import structlog
from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.cluster import ClusterMetadata
from aiokafka.errors import KafkaError

from gateway.kafka.cloudevents import HeadersOf, headers_of
from gateway.kafka.partitioner import partition_of
from gateway.kafka.sender import NO_LEADER, Sender
from gateway.sink import Durability, Unavailable
from runtime.errors import KafkaUnavailable
from runtime.health import Health
from runtime.kafka.compression import Compression
from runtime.kafka.topics import TopicSpec, ensure_topics
from runtime.metrics import CLIENTS_RECREATED, UNDERREPLICATED
from runtime.process import wait_up_to

#: Seconds between metadata refreshes: while all partitions are available, and while any is not.
METADATA_INTERVAL, RETRY_INTERVAL = 5.0, 0.5
METADATA_TIMEOUT = 30.0
CLOSE_TIMEOUT = 5.0

log = structlog.get_logger(__name__)


class KafkaSink:
    """A `gateway.sink.Sink` on Kafka. Use as an asynchronous context manager; connects in the background."""

    def __init__(
        self,
        options: Mapping[str, Any],
        specs: Sequence[TopicSpec],
        linger: float,
        ack_timeout: float,
        health: Health,
        headers: HeadersOf = headers_of,
        compression: Compression = "snappy",
    ) -> None:
        """
        Args:
            options: of aiokafka's clients (`runtime.kafka.clients.client_options`).
            specs: the topics to write to; created or checked as soon as Kafka answers.
            linger: seconds that a record may wait for others to share its batch.
            ack_timeout: seconds within which a record must be acknowledged.
            health: where part "kafka" is reported.
            headers: builds the headers of a record.
            compression: of the batches.
        """
        self._options = options
        self._specs = specs
        self._ack_timeout = ack_timeout
        self._health = health
        self._unavailable_reason: str | None = "Kafka has not answered yet"
        self._client: AIOKafkaClient | None = None
        self._metadata_failed = False
        self._partitions = {spec.name: spec.partitions for spec in specs}
        self._sender = Sender(linger, ack_timeout, headers, compression)
        self._report_health()
        self._ready = asyncio.Event()
        self._monitoring: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    @property
    def unavailable_reason(self) -> str | None:
        """Why no record can be put now; None while at least some partitions accept records."""
        return self._unavailable_reason

    async def put(self, topic: str, key: bytes, value: bytes) -> Durability:
        """Return once every in-sync replica has the record.

        Raises:
            Unavailable: it was not acknowledged within the timeout, or its partition is unavailable.
            TooLarge: Kafka rejected it for its size.
        """
        if self._unavailable_reason:
            raise Unavailable(self._unavailable_reason)
        await self._sender.put(topic, partition_of(key, self._partitions[topic]), key, value)
        return Durability.REPLICATED

    async def wait_ready(self) -> None:
        """Return once Kafka has answered and the topics match their specs."""
        await self._ready.wait()

    async def wait_failed(self) -> None:
        """Never return; raise if the process must not go on.

        Raises:
            StartupError: a topic does not match its spec.
        """
        assert self._monitoring
        await asyncio.shield(self._monitoring)

    async def __aenter__(self) -> Self:
        self._monitoring = asyncio.create_task(self._monitor())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Flush buffered records, which takes at most the timeout and some seconds, then close the client."""
        await self._sender.flush()
        assert self._monitoring
        self._monitoring.cancel()
        await asyncio.wait([self._monitoring])
        if self._client:
            await _close(self._client)

    def _report_health(self) -> bool:
        """Report what is unavailable; return whether all partitions accept records."""
        reason = self._unavailable_reason or next(iter(self._sender.errors.values()), None)
        if reason is None:
            self._health.up("kafka")
        else:
            self._health.down("kafka", reason)
        return reason is None

    async def _monitor(self) -> None:
        """Refresh the metadata periodically, more often while a partition is unavailable."""
        while True:
            started_at = asyncio.get_running_loop().time()
            try:
                async with asyncio.timeout(METADATA_TIMEOUT):
                    await self._refresh_metadata()
            except (KafkaError, KafkaUnavailable, OSError, TimeoutError) as error:
                reason = str(error) or f"Kafka does not answer within {METADATA_TIMEOUT:g} s"
                self._metadata_failed = True
                if self._sender.acknowledged_at >= started_at:
                    log.warning("Metadata refresh failed, produce still works", error=reason)
                elif reason != self._unavailable_reason:
                    log.error("Kafka unavailable", error=reason)
                    self._unavailable_reason = reason
            else:
                if self._unavailable_reason:
                    log.info("Kafka available", brokers=self._options["bootstrap_servers"])
                self._unavailable_reason = None
                self._ready.set()
            if self._report_health():
                await wait_up_to(METADATA_INTERVAL, self._sender.failing)
            else:
                await asyncio.sleep(RETRY_INTERVAL)

    async def _refresh_metadata(self) -> None:
        """Connect, check the topics, and reopen partitions whose leader can be reached."""
        client = await self._connected_client()
        cluster: ClusterMetadata = await client.fetch_all_metadata()
        if any(len(cluster.partitions_for_topic(name) or ()) != n for name, n in self._partitions.items()):
            await ensure_topics(self._options, self._specs)  # a broker lost its data
        UNDERREPLICATED.set(self._underreplicated(cluster))
        closed = list(self._sender.errors)
        if closed and not await client.force_metadata_update():
            raise KafkaUnavailable("Kafka does not report the leaders of its partitions")
        by_leader: dict[int | None, list[TopicPartition]] = defaultdict(list)
        for partition in closed:
            by_leader[client.cluster.leader_for_partition(partition)].append(partition)
        await asyncio.gather(
            *(
                self._reopen(client, leader, partitions)
                for leader, partitions in by_leader.items()
                if leader not in NO_LEADER
            )
        )

    async def _connected_client(self) -> AIOKafkaClient:
        """The client; created at first, recreated if it is stuck or may only know brokers that moved."""
        if not self._client:
            await ensure_topics(self._options, self._specs)
            self._client = await self._start_client()
        elif self._metadata_failed or self._sender.stuck:
            old, self._client = self._client, await self._start_client()
            log.warning("Kafka client recreated", consecutive_failures=self._sender.consecutive_failures)
            CLIENTS_RECREATED.inc()
            self._closing = asyncio.create_task(_close(old))  # may be slow; closed partitions must not wait
        else:
            return self._client
        self._sender.use(self._client)
        self._metadata_failed = False
        return self._client

    async def _reopen(
        self, client: AIOKafkaClient, leader: int | None, partitions: Sequence[TopicPartition]
    ) -> None:
        if await client.ready(leader):
            self._sender.reopen(partitions)

    def _underreplicated(self, cluster: ClusterMetadata) -> int:
        partitions = cluster._partitions
        return sum(
            len(partition.isr) < len(partition.replicas)
            for name in self._partitions
            for partition in partitions.get(name, {}).values()
        )

    async def _start_client(self) -> AIOKafkaClient:
        timeout_ms = int(max(self._ack_timeout, 1) * 1000)
        client = AIOKafkaClient(**self._options, request_timeout_ms=timeout_ms)
        try:
            await client.bootstrap()
            # Metadata of all topics: a request by name might auto-create a topic, with other settings.
            if not await client.force_metadata_update():
                raise KafkaUnavailable("Kafka does not report the leaders of its partitions")
        except BaseException:
            await client.close()
            raise
        return client


async def _close(client: AIOKafkaClient) -> None:
    try:
        await asyncio.wait_for(client.close(), CLOSE_TIMEOUT)
    except Exception as error:  # a stuck client may fail in any way
        log.warning("Kafka client did not close in time", error=repr(error))

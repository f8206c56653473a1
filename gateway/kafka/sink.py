"""Keeps records by giving them to Kafka: every in-sync replica has a record before anybody is told so.

Records of concurrent requests are gathered into batches, one lane for each partition
(`gateway.kafka.sender`). A lane whose batch was not acknowledged in time takes nothing more until the
partition has a leader that answers; while no broker answers, no lane takes anything. Who would wait in vain
is told at once.

A record that was not acknowledged in time may be in Kafka all the same. That is harmless: its event_id
makes it the same fact.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import structlog
from aiokafka.client import AIOKafkaClient
from aiokafka.cluster import ClusterMetadata
from aiokafka.errors import KafkaError

from gateway.kafka.buffer import PartitionBuffer
from gateway.kafka.cloudevents import HeadersOf, headers_of
from gateway.kafka.partitioner import partition_of
from gateway.kafka.sender import NO_LEADER, Sender
from gateway.sink import Durability, Unavailable
from runtime.errors import KafkaUnavailable
from runtime.health import Health
from runtime.kafka.topics import TopicSpec, ensure_topics
from runtime.metrics import CLIENTS_RECREATED, UNDERREPLICATED

#: Seconds between looks at Kafka: while all is well, and while something is not.
METADATA_INTERVAL, RETRY_INTERVAL = 5.0, 0.5
METADATA_TIMEOUT = 30.0
#: Requests that fail in a row, while brokers answer, until the client is taken for wedged and made anew.
MAX_CONSECUTIVE_FAILURES = 5
CLOSE_TIMEOUT = 5.0

log = structlog.get_logger(__name__)


class KafkaSink:
    """A `gateway.sink.Sink` on Kafka. Use as an asynchronous context; `opened` tells when it can keep."""

    def __init__(
        self,
        options: Mapping[str, Any],
        specs: Sequence[TopicSpec],
        linger: float,
        ack_timeout: float,
        health: Health,
        headers: HeadersOf = headers_of,
    ) -> None:
        """Nothing is sent yet.

        Args:
            options: of aiokafka's clients (`runtime.kafka.client_options`).
            specs: the topics that records go to; created or checked as soon as Kafka answers.
            linger: seconds that a record may wait for others to share its batch.
            ack_timeout: seconds that a record may take, at most.
            health: where it says what is wrong with Kafka.
            headers: of each record.
        """
        self._options = options
        self._specs = specs
        self._ack_timeout = ack_timeout
        self._health = health
        self._away: str | None = "Kafka has not answered yet"
        self._client: AIOKafkaClient | None = None
        self._partitions = {spec.name: spec.partitions for spec in specs}
        self._lanes = Sender(self._started, linger, ack_timeout, headers, self._note)
        self._acknowledged_at = 0.0
        self._failed_in_a_row = 0
        self._stuck = False
        self._trouble = asyncio.Event()
        self._report()
        self._opened = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None

    @property
    def away(self) -> str | None:
        """Why nothing can be kept now; None while at least some partitions take records."""
        return self._away

    async def keep(self, topic: str, key: bytes, value: bytes) -> Durability:
        """Return once every in-sync replica has the record, within the time-out.

        Raises:
            NotKept: it was not acknowledged in time, or could not be.
        """
        partition = partition_of(key, self._partitions[topic])
        if problem := self._away or await self._lanes.put(topic, partition, key, value):
            raise Unavailable(problem)
        return Durability.REPLICATED

    async def opened(self) -> None:
        """Return as soon as Kafka has answered and the topics are as they must be."""
        await self._opened.wait()

    async def refused(self) -> None:
        """Return never, but raise when it turns out that the gateway must not go on.

        Raises:
            Refused: the topics are not as they must be.
        """
        assert self._watching
        await asyncio.shield(self._watching)

    async def __aenter__(self) -> KafkaSink:
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let what is under way come to its end, which is at most the time-out and some seconds."""
        await self._lanes.drained()
        assert self._watching
        self._watching.cancel()
        await asyncio.wait([self._watching])
        if self._client:
            await _end(self._client)

    def _started(self) -> AIOKafkaClient:
        assert self._client
        return self._client

    def _note(self, acknowledged: bool) -> None:
        if acknowledged:
            self._failed_in_a_row = 0
            self._acknowledged_at = asyncio.get_running_loop().time()
        else:
            self._failed_in_a_row += 1
            self._stuck = self._stuck or self._failed_in_a_row >= MAX_CONSECUTIVE_FAILURES
        if any(lane.down for lane in self._lanes):
            self._trouble.set()

    def _report(self) -> str | None:
        """Tell the operator why not everything can be kept now, if so."""
        problem = self._away or next((lane.down for lane in self._lanes if lane.down), None)
        if problem:
            self._health.missing["kafka"] = problem
        else:
            self._health.missing.pop("kafka", None)
        return problem

    async def _watch(self) -> None:
        """Look at Kafka again and again, sooner while something is wrong."""
        while True:
            self._trouble.clear()
            began = asyncio.get_running_loop().time()
            try:
                async with asyncio.timeout(METADATA_TIMEOUT):
                    await self._look()
            except (KafkaError, KafkaUnavailable, OSError, TimeoutError) as error:
                problem = str(error) or f"Kafka does not answer within {METADATA_TIMEOUT:g} s"
                self._stuck = True  # or it knows only brokers that are no more
                if self._acknowledged_at >= began:
                    log.warning("Kafka keeps, but does not answer otherwise", error=problem)
                elif problem != self._away:
                    log.error("Kafka is away", error=problem)
                    self._away = problem
            else:
                if self._away:
                    log.info("Kafka is there", brokers=self._options["bootstrap_servers"])
                self._away = None
                self._opened.set()
            if self._report():
                await asyncio.sleep(RETRY_INTERVAL)
            else:
                # Not wait_for: Python 3.11 forgets that it was cancelled when trouble comes in the same turn.
                with suppress(TimeoutError):
                    async with asyncio.timeout(METADATA_INTERVAL):
                        await self._trouble.wait()

    async def _look(self) -> None:
        """Make sure of the topics, and open those lanes again whose partition has a leader that answers."""
        if not self._client:
            await ensure_topics(self._options, self._specs)
            self._client = await self._start_client()
            self._stuck = False
        elif self._stuck:
            old, self._client = self._client, await self._start_client()
            log.warning("Kafka's client made anew", failed_in_a_row=self._failed_in_a_row)
            CLIENTS_RECREATED.inc()
            self._stuck, self._failed_in_a_row = False, 0
            self._ending = asyncio.create_task(_end(old))  # it may take its time; partitions wait to open
        client = self._client
        cluster: ClusterMetadata = await client.fetch_all_metadata()
        if any(len(cluster.partitions_for_topic(name) or ()) != n for name, n in self._partitions.items()):
            await ensure_topics(self._options, self._specs)  # a broker that lost its memory
        UNDERREPLICATED.set(self._underreplicated(cluster))
        down = [lane for lane in self._lanes if lane.down]
        if down and not await client.force_metadata_update():
            raise KafkaUnavailable("Kafka does not say who leads the partitions")
        led_by: dict[int | None, list[PartitionBuffer]] = defaultdict(list)
        for lane in down:
            led_by[client.cluster.leader_for_partition(lane.partition)].append(lane)
        await asyncio.gather(
            *(_open(client, leader, lanes) for leader, lanes in led_by.items() if leader not in NO_LEADER)
        )

    def _underreplicated(self, cluster: ClusterMetadata) -> int:
        partitions = cluster._partitions
        return sum(
            len(partition.isr) < len(partition.replicas)
            for name in self._partitions
            for partition in partitions.get(name, {}).values()
        )

    async def _start_client(self) -> AIOKafkaClient:
        patience = int(max(self._ack_timeout, 1) * 1000)
        client = AIOKafkaClient(**self._options, request_timeout_ms=patience)
        try:
            await client.bootstrap()
            # Of all topics: asked for by name, one that is not there might be made, and not as it must be.
            if not await client.force_metadata_update():
                raise KafkaUnavailable("Kafka does not say who leads the partitions")
        except BaseException:
            await client.close()
            raise
        return client


async def _open(client: AIOKafkaClient, leader: int | None, lanes: Sequence[PartitionBuffer]) -> None:
    """Let them take records again as soon as their leader can be asked."""
    if await client.ready(leader):
        for lane in lanes:
            lane.down = None


async def _end(client: AIOKafkaClient) -> None:
    try:
        await asyncio.wait_for(client.close(), CLOSE_TIMEOUT)
    except Exception as error:  # the client's edge: one that is stuck may fail in any way
        log.warning("Kafka's client does not end; left behind", error=repr(error))

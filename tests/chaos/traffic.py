"""Steady traffic directly into Kafka, and the latency from each postback to its state in `messages`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from itertools import cycle
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2

from gateway.postback import TOPIC_OF, AnyPostback, encode, format_time, key_of
from streams.message import MESSAGES
from tests.chaos.placement import PARTITIONS
from tests.support.postbacks import receipt, reply, sent

ACCOUNT = "acme"
#: Maximum records in flight; more are dropped, as a lost partition acknowledges none.
MAX_IN_FLIGHT = 1_000
REQUEST_TIMEOUT = 10.0


class Traffic:
    """Sends postbacks to the partitions in turn, each about a new message."""

    def __init__(self, kafka: str, partitions: Sequence[int], rate: float) -> None:
        """
        Args:
            rate: postbacks per second, over all partitions.
        """
        #: Monotonic time at which the postback of each key was acknowledged.
        self.acknowledged: dict[bytes, float] = {}
        self.failed = 0
        self._rate = rate
        self._partitions = partitions
        self._producer = AIOKafkaProducer(
            bootstrap_servers=kafka, acks="all", request_timeout_ms=round(REQUEST_TIMEOUT * 1000)
        )
        self._in_flight: set[asyncio.Future[object]] = set()

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[None]:
        """Send for the block; at its end wait until nothing is in flight."""
        await self._producer.start()
        sending = asyncio.create_task(self._send_all())
        try:
            yield
        finally:
            sending.cancel()
            with suppress(asyncio.CancelledError):
                await sending
            if self._in_flight:
                await asyncio.wait(self._in_flight, timeout=2 * REQUEST_TIMEOUT)
            with suppress(KafkaError, TimeoutError):
                await asyncio.wait_for(self._producer.stop(), REQUEST_TIMEOUT)

    async def _send_all(self) -> None:
        began = time.monotonic()
        for number, (partition, build) in enumerate(zip(cycle(self._partitions), _builders(), strict=False)):
            await asyncio.sleep(max(0, began + number / self._rate - time.monotonic()))
            if len(self._in_flight) >= MAX_IN_FLIGHT:
                self.failed += 1
                continue
            await self._send(_about_new_message(build, partition), partition)

    async def _send(self, postback: AnyPostback, partition: int) -> None:
        key = key_of(postback.account, postback.message_id)
        topic = TOPIC_OF[type(postback)]
        try:
            future = await self._producer.send(topic, encode(postback), key=key, partition=partition)
        except KafkaError:
            self.failed += 1
            return
        self._in_flight.add(future)
        future.add_done_callback(partial(self._on_result, key))

    def _on_result(self, key: bytes, future: asyncio.Future[object]) -> None:
        self._in_flight.discard(future)
        if future.cancelled() or future.exception():
            self.failed += 1
        else:
            self.acknowledged[key] = time.monotonic()


class Arrivals:
    """Monotonic times at which the first state of each key arrived in some partitions of `messages`."""

    def __init__(self, kafka: str, partitions: Sequence[int]) -> None:
        self.seen: dict[bytes, float] = {}
        self._partitions = [TopicPartition(MESSAGES, number) for number in partitions]
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=kafka, enable_auto_commit=False, fetch_max_wait_ms=50, metadata_max_age_ms=5_000
        )

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """Read for the block, from the current ends on."""
        await self._consumer.start()
        self._consumer.assign(self._partitions)
        await self._consumer.seek_to_end()
        for tp in self._partitions:
            await self._consumer.position(tp)  # resolves the end now, not at the first fetch
        reading = asyncio.create_task(self._read())
        try:
            yield
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading
            await self._consumer.stop()

    async def _read(self) -> None:
        while True:
            for records in (await self._consumer.getmany(timeout_ms=200)).values():
                now = time.monotonic()
                for record in records:
                    self.seen.setdefault(record.key, now)


def latencies(traffic: Traffic, arrivals: Arrivals, since: float, until: float) -> list[float]:
    """Return sorted seconds from acknowledgement to state, of what was acknowledged in that time.

    A state that has not arrived counts with the time since its acknowledgement.
    """
    now = time.monotonic()
    return sorted(
        max(0.0, arrivals.seen.get(key, now) - at)
        for key, at in traffic.acknowledged.items()
        if since <= at < until
    )


def percentile(values: Sequence[float], fraction: float) -> float:
    """Return a percentile of sorted values; 0 if there are none."""
    return values[min(len(values) - 1, int(len(values) * fraction))] if values else 0.0


def _builders() -> Iterator[Callable[..., AnyPostback]]:
    return cycle((sent, receipt, reply))


def _about_new_message(build: Callable[..., AnyPostback], partition: int) -> AnyPostback:
    while True:
        message_id = str(uuid4())
        if (murmur2(key_of(ACCOUNT, message_id)) & 0x7FFFFFFF) % PARTITIONS == partition:
            break
    return build(
        event_id=uuid4().hex,
        account=ACCOUNT,
        message_id=message_id,
        received_at=format_time(datetime.now(UTC)),
        body=f"MessageID={message_id}&" + "x" * 150,
    )

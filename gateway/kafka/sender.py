"""All lanes, and when their batches are sent: in one request to each broker, a moment after the first record.

That moment lets requests that come together share their batches. A broker has one request under way at a
time; what comes meanwhile goes with the next. So the busier it is, the more goes with each.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.conn import CloseReason
from aiokafka.errors import KafkaError, LeaderNotAvailableError, UnknownError, for_code
from aiokafka.protocol.produce import ProduceRequest

from gateway.kafka.buffer import PartitionBuffer, Record
from gateway.kafka.cloudevents import HeadersOf

ALL_IN_SYNC = -1
#: Of the time that is left: then it says itself which partition's replicas are late, and is not hung up on.
BROKER_TIMEOUT_SHARE = 0.75
#: Until a batch is tried again that a broker did not take: it may not know yet that it leads the partition.
RETRY_BACKOFF = 0.1
#: That a request has, though a record in it has less: nobody is to pay for who was tried again.
MIN_REQUEST_TIMEOUT = 0.5
#: Who leads a partition that has no leader, or that the client does not know.
NO_LEADER = (-1, None)


class Sender:
    """A lane for each partition that records went to."""

    def __init__(
        self,
        client: Callable[[], AIOKafkaClient],
        linger: float,
        ack_timeout: float,
        headers: HeadersOf,
        answered: Callable[[bool], None],
    ) -> None:
        """
        Args:
            client: gives the client to send with.
            linger: seconds of that moment.
            ack_timeout: seconds that a record may take, at most.
            answered: is called after a request, with whether Kafka acknowledged any of it; not while all of
                it is tried again. The lanes' `down` tells more.
        """
        self._loop = asyncio.get_running_loop()
        self._client = client
        self._linger = linger
        self._ack_timeout = ack_timeout
        self._headers = headers
        self._answered = answered
        self._lanes: dict[tuple[str, int], PartitionBuffer] = {}
        self._due: set[PartitionBuffer] = set()
        #: Those whose batch is to be tried again, and not at once.
        self._resting: set[PartitionBuffer] = set()
        self._turn: asyncio.TimerHandle | None = None
        self._requests: dict[int | None, asyncio.Task[None]] = {}
        self._rested = asyncio.Event()

    def __iter__(self) -> Iterator[PartitionBuffer]:
        return iter(self._lanes.values())

    def of(self, topic: str, partition: int) -> PartitionBuffer:
        """The lane to this partition."""
        lane = self._lanes.get((topic, partition))
        if lane is None:
            lane = self._lanes[topic, partition] = PartitionBuffer(
                TopicPartition(topic, partition), self._headers
            )
        return lane

    def put(self, topic: str, partition: int, key: bytes, value: bytes) -> asyncio.Future[str | None]:
        """The answer comes within the time-out and LEAST_SECONDS: None when brokers have it, else why not.

        A record that Kafka refuses for its size is answered with the exception TooLarge.
        """
        lane = self.of(topic, partition)
        record = Record(key, value, self._loop.time() + self._ack_timeout, self._loop.create_future())
        lane.put(record)
        if lane.waiting:
            self._due.add(lane)
            self._take_turn()
        return record.answer

    async def drained(self) -> None:
        """Return when nothing is waiting or under way in any of them."""
        while self._due or self._requests:
            self._rested.clear()
            await self._rested.wait()

    def _take_turn(self) -> None:
        if self._turn is None:
            self._turn = self._loop.call_later(self._linger, self._send)

    def _send(self) -> None:
        """Start a request to each broker that has none under way and something to get."""
        self._turn = None
        cluster = self._client().cluster
        led_by: dict[int | None, list[PartitionBuffer]] = defaultdict(list)
        for lane in self._due:
            leader = cluster.leader_for_partition(lane.partition)
            if leader not in self._requests and not lane.under_way and lane not in self._resting:
                led_by[leader].append(lane)
        for leader, lanes in led_by.items():
            self._due.difference_update(lanes)
            self._requests[leader] = self._loop.create_task(self._request(leader, lanes))

    async def _request(self, leader: int | None, lanes: Sequence[PartitionBuffer]) -> None:
        client = self._client()
        failure: BaseException | None = None
        errors: Mapping[TopicPartition, BaseException | None] = {}
        try:
            batches = _packed(lanes)
            if leader in NO_LEADER:
                raise LeaderNotAvailableError
            left = min(lane.deadline for lane in lanes) - self._loop.time()
            patience = max(left, min(MIN_REQUEST_TIMEOUT, self._ack_timeout))
            async with asyncio.timeout(patience):
                milliseconds = int(patience * BROKER_TIMEOUT_SHARE * 1000)
                request = ProduceRequest(None, ALL_IN_SYNC, milliseconds, batches)
                errors = _errors(await client.send(leader, request))
        except TimeoutError:
            failure = TimeoutError(f"no answer within {self._ack_timeout:g} s")
            _hang_up(client, leader)
        except Exception as error:  # the client's edge: assertions and type errors of its own included
            failure = error
        del self._requests[leader]
        silence = UnknownError("the broker did not say")
        outcomes = {lane: failure or errors.get(lane.partition, silence) for lane in lanes}
        again = [lane for lane, error in outcomes.items() if not self._ended(lane, error)]
        if again:
            client.force_metadata_update()
            self._resting.update(again)
            self._loop.call_later(RETRY_BACKOFF, self._wake, again)
        if len(again) < len(lanes):
            self._answered(None in outcomes.values())
        if self._due:
            self._take_turn()
        elif not self._requests:
            self._rested.set()

    def _ended(self, lane: PartitionBuffer, error: BaseException | None) -> bool:
        """Whether its batch has come to its end; else it waits again, as another leader may still take it."""
        retriable = isinstance(error, KafkaError) and error.retriable
        ended = not retriable or lane.deadline < self._loop.time() + RETRY_BACKOFF
        if ended:
            lane.end(error)
        else:
            lane.wait_again()
        if lane.waiting:
            self._due.add(lane)
        else:
            self._due.discard(lane)
        return ended

    def _wake(self, lanes: Sequence[PartitionBuffer]) -> None:
        self._resting.difference_update(lanes)
        self._take_turn()


def _packed(lanes: Sequence[PartitionBuffer]) -> list[tuple[str, list[tuple[int, bytes]]]]:
    """The batches by partition by topic, as a request has them."""
    batches: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
    for lane in lanes:
        topic, partition = lane.partition
        batches[topic].append((partition, lane.pack()))
    return [*batches.items()]


def _errors(response: Any) -> dict[TopicPartition, BaseException | None]:
    """What a broker says of each partition; None: every in-sync replica has it."""
    return {
        TopicPartition(topic, partition): for_code(code)() if code else None
        for topic, partitions in response.topics
        for partition, code, *_ in partitions
    }


def _hang_up(client: AIOKafkaClient, leader: int | None) -> None:
    """So that nobody stands in line behind what was given up, and a broker must take the call to be there."""
    if connection := client._conns.get((leader, ConnectionGroup.DEFAULT)):
        connection.close(reason=CloseReason.CONNECTION_TIMEOUT)

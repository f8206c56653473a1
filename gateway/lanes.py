"""All lanes, and when they send: together, a moment after the first of them has something.

Whatever lanes send in the same moment goes to a broker in one request, and the moment lets requests that come
together share their batches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from aiokafka import AIOKafkaProducer, TopicPartition

from gateway.cloudevents import HeadersOf
from gateway.lane import Lane


class Lanes:
    """A lane for each partition that records went to."""

    def __init__(
        self,
        producer: Callable[[], AIOKafkaProducer],
        linger: float,
        ack_timeout: float,
        headers: HeadersOf,
        answered: Callable[[Lane], None],
    ) -> None:
        """
        Args:
            producer: gives the client to send with.
            linger: seconds of that moment.
            ack_timeout: seconds that a record may take, at most.
            answered: is called after each batch of a lane.
        """
        self._producer = producer
        self._linger = linger
        self._ack_timeout = ack_timeout
        self._headers = headers
        self._answered = answered
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._due: list[Lane] = []
        self._sending: asyncio.Task[None] | None = None
        self._rested = asyncio.Event()

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    def of(self, topic: str, partition: int) -> Lane:
        """The lane to this partition."""
        lane = self._lanes.get((topic, partition))
        if lane is None:
            place = TopicPartition(topic, partition)
            lane = Lane(
                place, self._producer, self._ack_timeout, self._headers, self._take_turn, self._end_turn
            )
            self._lanes[topic, partition] = lane
        return lane

    async def drained(self) -> None:
        """Return when nothing is waiting or under way in any of them."""
        while not all(lane.idle for lane in self):
            self._rested.clear()
            await self._rested.wait()

    def _take_turn(self, lane: Lane) -> None:
        self._due.append(lane)
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())

    def _end_turn(self, lane: Lane) -> None:
        self._answered(lane)
        if lane.idle:
            self._rested.set()

    async def _send(self) -> None:
        while self._due:
            await asyncio.sleep(self._linger)
            due, self._due = self._due, []
            for lane in due:
                await lane.send()
        self._sending = None

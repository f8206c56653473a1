"""Reads topics, groups and offsets from Kafka.

Sends its own requests, because a check must not share code with what it checks.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocol
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.commit import OffsetFetchRequest
from aiokafka.protocol.offset import OffsetRequest, OffsetResetStrategy

#: Seconds for all requests of one method.
TIMEOUT = 5.0

Offsets = dict[TopicPartition, int]


class ObservationFailed(Exception):
    """No response, or not yet: brokers down, an election, a coordinator that is loading its group."""


@dataclass(frozen=True)
class Group:
    """A snapshot of a consumer group. Assignments are known only while it is stable."""

    state: str
    members: Mapping[str, frozenset[TopicPartition]]

    @property
    def stable(self) -> bool:
        return self.state == "Stable"

    @property
    def owned(self) -> frozenset[TopicPartition]:
        return frozenset[TopicPartition]().union(*self.members.values())


@dataclass(frozen=True)
class Lag:
    """Committed offsets and log end offsets, of all partitions that have a leader."""

    committed: Offsets
    ends: Offsets

    @property
    def by_partition(self) -> Offsets:
        return {tp: max(0, end - max(0, self.committed.get(tp, 0))) for tp, end in self.ends.items()}

    @property
    def total(self) -> int:
        return sum(self.by_partition.values())


class Observer:
    """A client that connects on demand, and reconnects after a failure. Close it with `aclose`."""

    def __init__(self, kafka: str) -> None:
        self._kafka = kafka
        self._admin: AIOKafkaAdminClient | None = None

    async def partitions(self) -> dict[str, int]:
        """Fetch the metadata; return the number of partitions of each topic.

        Raises:
            ObservationFailed: no broker responds.
        """
        async with self._connected() as admin:
            return {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}

    async def group(self, name: str) -> Group:
        """Fetch the state and the members of a group from its coordinator.

        Raises:
            ObservationFailed: the coordinator does not respond.
        """
        async with self._connected() as admin:
            (response,) = await admin.describe_consumer_groups([name])
            ((error, _, state, _, _, members, *_),) = response.groups
            if error:
                raise for_code(error)(f"group {name}")
            return Group(state, {member: _assigned(assignment) for member, _, _, _, assignment in members})

    async def lag(self, group: str, topics: Collection[str]) -> Lag:
        """Fetch committed and end offsets of the topics' partitions, except those without a leader.

        Raises:
            ObservationFailed: the coordinator or a leader does not respond.
        """
        async with self._connected() as admin:
            described = [topic for topic in await admin.describe_topics() if topic["topic"] in topics]
            leaders: defaultdict[int, list[TopicPartition]] = defaultdict(list)
            for topic in described:
                for part in topic["partitions"]:
                    if part["leader"] >= 0:
                        leaders[part["leader"]].append(TopicPartition(topic["topic"], part["partition"]))
            # Committed offsets first, so that none is past its end offset.
            committed = await self._committed(admin, group, [tp for tps in leaders.values() for tp in tps])
            requests = (_ends(admin, node, tps) for node, tps in leaders.items())
            ends: Offsets = {}
            # Await all responses: a request that outlives the client would leak its connection.
            for result in await asyncio.gather(*requests, return_exceptions=True):
                if isinstance(result, BaseException):
                    raise result
                ends |= result
            return Lag(committed, ends)

    async def aclose(self) -> None:
        admin, self._admin = self._admin, None
        if admin:
            with suppress(KafkaError, OSError):
                await admin.close()

    async def _committed(
        self, admin: AIOKafkaAdminClient, group: str, partitions: Collection[TopicPartition]
    ) -> Offsets:
        """Fetch committed offsets; -1 for a partition without one.

        Not with aiokafka's `list_consumer_group_offsets`, which ignores the error of a coordinator that is
        still loading, and returns no offsets.
        """
        coordinator = await admin.find_coordinator(group)
        request = OffsetFetchRequest(group, [(t, sorted(ps)) for t, ps in _by_topic(partitions).items()])
        response = await admin._send_request(request, coordinator)
        if response.error_code:
            raise for_code(response.error_code)(f"offsets of {group}")
        return {
            TopicPartition(topic, partition): offset
            for topic, offsets in response.topics
            for partition, offset, *_ in offsets
        }

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AIOKafkaAdminClient]:
        try:
            async with asyncio.timeout(TIMEOUT):
                if self._admin is None:
                    self._admin = AIOKafkaAdminClient(
                        bootstrap_servers=self._kafka, request_timeout_ms=round(TIMEOUT * 1000)
                    )
                    await self._admin.start()
                yield self._admin
        except (KafkaError, OSError, TimeoutError) as error:
            await self.aclose()
            raise ObservationFailed(str(error) or type(error).__name__) from error


async def _ends(admin: AIOKafkaAdminClient, leader: int, partitions: Collection[TopicPartition]) -> Offsets:
    latest = [
        (topic, [(number, OffsetResetStrategy.LATEST) for number in numbers])
        for topic, numbers in _by_topic(partitions).items()
    ]
    response = await admin._send_request(OffsetRequest(-1, 0, latest), leader)
    ends: Offsets = {}
    for topic, offsets in response.topics:
        for partition, error, _, offset, *_ in offsets:
            if error:
                raise for_code(error)(f"end of {topic}-{partition}")
            ends[TopicPartition(topic, partition)] = offset
    return ends


def _by_topic(partitions: Collection[TopicPartition]) -> Mapping[str, list[int]]:
    by_topic: defaultdict[str, list[int]] = defaultdict(list)
    for topic, partition in partitions:
        by_topic[topic].append(partition)
    return by_topic


def _assigned(assignment: bytes) -> frozenset[TopicPartition]:
    """Decode an assignment; empty while the group is not stable, as the coordinator sends none then."""
    return frozenset(ConsumerProtocol.ASSIGNMENT.decode(assignment).partitions() if assignment else ())

"""Topics and groups as Kafka sees them.

It sends its own requests, as a check must not share code with what it checks.
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

#: Seconds that one question may take, with all of its requests.
TIMEOUT = 5.0

Offsets = dict[TopicPartition, int]


class Unavailable(Exception):
    """Kafka does not answer, or not yet: brokers down, an election, a coordinator that loads its group."""


@dataclass(frozen=True)
class Group:
    """A consumer group at one moment. Assignments are known only while it is stable."""

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
    """Committed offset and end of the log, for each partition that has a leader."""

    committed: Offsets
    ends: Offsets

    @property
    def by_partition(self) -> Offsets:
        return {tp: max(0, end - max(0, self.committed.get(tp, 0))) for tp, end in self.ends.items()}

    @property
    def total(self) -> int:
        return sum(self.by_partition.values())


class Observer:
    """A client that connects when it is asked, and connects again after a failure."""

    def __init__(self, kafka: str) -> None:
        self._kafka = kafka
        self._admin: AIOKafkaAdminClient | None = None

    async def partitions(self) -> dict[str, int]:
        """How many partitions each topic has, in a metadata answer of now.

        Raises:
            Unavailable: no broker answers.
        """
        async with self._asking() as admin:
            return {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}

    async def group(self, name: str) -> Group:
        """State and members of a group, asked of its coordinator.

        Raises:
            Unavailable: the coordinator does not answer.
        """
        async with self._asking() as admin:
            (response,) = await admin.describe_consumer_groups([name])
            ((error, _, state, _, _, members, *_),) = response.groups
            if error:
                raise for_code(error)(f"group {name}")
            return Group(state, {member: _assigned(assignment) for member, _, _, _, assignment in members})

    async def lag(self, group: str, topics: Collection[str]) -> Lag:
        """Committed offsets and ends of the topics' partitions, without those that have no leader now.

        Raises:
            Unavailable: the coordinator or a leader does not answer.
        """
        async with self._asking() as admin:
            described = [topic for topic in await admin.describe_topics() if topic["topic"] in topics]
            leaders: defaultdict[int, list[TopicPartition]] = defaultdict(list)
            for topic in described:
                for part in topic["partitions"]:
                    if part["leader"] >= 0:
                        leaders[part["leader"]].append(TopicPartition(topic["topic"], part["partition"]))
            # Committed first: an end that is read later is never before what was committed.
            committed = await self._committed(admin, group, [tp for tps in leaders.values() for tp in tps])
            asked = (_ends(admin, node, tps) for node, tps in leaders.items())
            ends: Offsets = {}
            # All answers are awaited: a request that outlives the client would leave a connection open.
            for found in await asyncio.gather(*asked, return_exceptions=True):
                if isinstance(found, BaseException):
                    raise found
                ends |= found
            return Lag(committed, ends)

    async def close(self) -> None:
        admin, self._admin = self._admin, None
        if admin:
            with suppress(KafkaError, OSError):
                await admin.close()

    async def _committed(
        self, admin: AIOKafkaAdminClient, group: str, partitions: Collection[TopicPartition]
    ) -> Offsets:
        """-1 for a partition without a commit.

        aiokafka's `list_consumer_group_offsets` drops the error of a coordinator that is still loading, and
        answers as if there were no commits.
        """
        coordinator = await admin.find_coordinator(group)
        request = OffsetFetchRequest(group, [(t, sorted(ps)) for t, ps in _by_topic(partitions).items()])
        response = await admin._send_request(request, coordinator)
        if response.error_code:
            raise for_code(response.error_code)(f"offsets of {group}")
        return {
            TopicPartition(topic, partition): offset
            for topic, found in response.topics
            for partition, offset, *_ in found
        }

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[AIOKafkaAdminClient]:
        try:
            async with asyncio.timeout(TIMEOUT):
                if self._admin is None:
                    self._admin = AIOKafkaAdminClient(
                        bootstrap_servers=self._kafka, request_timeout_ms=round(TIMEOUT * 1000)
                    )
                    await self._admin.start()
                yield self._admin
        except (KafkaError, OSError, TimeoutError) as error:
            await self.close()
            raise Unavailable(str(error) or type(error).__name__) from error


async def _ends(admin: AIOKafkaAdminClient, leader: int, partitions: Collection[TopicPartition]) -> Offsets:
    latest = [
        (topic, [(number, OffsetResetStrategy.LATEST) for number in numbers])
        for topic, numbers in _by_topic(partitions).items()
    ]
    response = await admin._send_request(OffsetRequest(-1, 0, latest), leader)
    ends: Offsets = {}
    for topic, found in response.topics:
        for partition, error, _, offset, *_ in found:
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
    """Empty while the group is not stable: then the coordinator tells no assignments."""
    return frozenset(ConsumerProtocol.ASSIGNMENT.decode(assignment).partitions() if assignment else ())

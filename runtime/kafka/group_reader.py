"""Reads a consumer group from Kafka: who owns which partition, what is committed, and where the logs end.

It asks the coordinator (DescribeGroups, OffsetFetch) and the partitions' leaders (ListOffsets), with a client
of its own: a partition without a leader, or a broker that does not answer, delays no other part of the
process, and the rest of the answer is complete without it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Self, TypeVar

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.commit import OffsetFetchRequest
from aiokafka.protocol.group import LeaveGroupRequest
from aiokafka.protocol.offset import OffsetRequest

from runtime.errors import KafkaUnavailable
from runtime.kafka.consumer_group import GroupSnapshot, TopicPartition
from runtime.kafka.membership import METADATA_MAX_AGE_MS

#: Seconds a broker may take to answer, and all of them together for one snapshot.
REQUEST_TIMEOUT, SNAPSHOT_TIMEOUT = 5.0, 10.0
LATEST, EARLIEST = -1, -2
MIN_ISR = "min.insync.replicas"

T = TypeVar("T")


class GroupReader:
    """Connects when it is first asked. An asynchronous context manager, which disconnects at its end."""

    def __init__(
        self, options: Mapping[str, Any], group: str, topics: Mapping[str, int], inputs: Collection[str]
    ) -> None:
        """
        Args:
            options: of aiokafka's clients (`runtime.kafka.client_options`).
            topics: the topics that the group's members own, with their numbers of partitions.
            inputs: those of them that the group commits offsets of.
        """
        self._options = options
        self._group = group
        self._partitions = frozenset(
            TopicPartition(topic, number) for topic, count in topics.items() for number in range(count)
        )
        self._inputs = frozenset(tp for tp in self._partitions if tp.topic in inputs)
        self._admin: AIOKafkaAdminClient | None = None
        self._connecting = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Disconnect; the next question connects again."""
        if self._admin:
            admin, self._admin = self._admin, None
            await admin.close()

    async def snapshot(self) -> GroupSnapshot:
        """The group now.

        Raises:
            KafkaAway: the coordinator does not answer.
        """
        try:
            async with asyncio.timeout(SNAPSHOT_TIMEOUT):
                admin = await self._connected()
                coordinator = await admin.find_coordinator(self._group)
                state, members = await self._describe(admin, coordinator)
                committed = await committed_offsets(admin, self._group, self._inputs, coordinator)
        except (KafkaError, OSError, TimeoutError) as error:
            await self.close()
            raise KafkaUnavailable(
                f"Kafka does not describe its groups: {error or type(error).__name__}"
            ) from error
        ends = await self.ends(self._inputs)
        fresh = [tp for tp in ends if committed.get(tp, -1) < 0]
        done = committed | (await self._offsets(fresh, EARLIEST) if fresh else {})
        lag = {tp: max(0, end - done[tp]) for tp, end in ends.items() if done.get(tp, -1) >= 0}
        return GroupSnapshot(state, members, self._partitions, lag)

    async def ends(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """The offset after the last record, of each partition whose leader answers.

        Raises:
            KafkaAway: no broker answers.
        """
        return await self._offsets(partitions, LATEST)

    async def writable(self, topic: str) -> frozenset[int]:
        """Partitions of the topic that take writes: with a leader, and as many replicas in sync as it needs.

        Raises:
            KafkaAway: no broker answers.
        """
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                admin = await self._connected()
                (config,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
                entries = [entry for *_, found in config.resources for entry in found]
                needed = max([int(value) for name, value, *_ in entries if name == MIN_ISR], default=1)
                described = await admin.describe_topics()
        except (KafkaError, OSError, TimeoutError) as error:
            await self.close()
            raise KafkaUnavailable(
                f"Kafka does not describe {topic}: {error or type(error).__name__}"
            ) from error
        return frozenset(
            part["partition"]
            for one in described
            if one["topic"] == topic
            for part in one["partitions"]
            if part["leader"] >= 0 and len(part["isr"]) >= min(needed, len(part["replicas"]))
        )

    async def _connected(self) -> AIOKafkaAdminClient:
        async with self._connecting:
            if self._admin is None:
                admin = AIOKafkaAdminClient(
                    **self._options,
                    request_timeout_ms=round(REQUEST_TIMEOUT * 1000),
                    metadata_max_age_ms=METADATA_MAX_AGE_MS,
                )
                try:
                    await admin.start()
                except BaseException:
                    await admin.close()
                    raise
                admin._client.set_topics({tp.topic for tp in self._partitions})
                self._admin = admin
            return self._admin

    async def _describe(
        self, admin: AIOKafkaAdminClient, coordinator: int
    ) -> tuple[str, dict[str, frozenset[TopicPartition] | None]]:
        (response,) = await admin.describe_consumer_groups([self._group], coordinator)
        ((error, _, state, _, _, members, *_),) = response.groups
        if error:
            raise for_code(error)()
        return state, {member: _owned(assignment) for member, _, _, _, assignment in members}

    async def _offsets(
        self, partitions: Collection[TopicPartition], position: int
    ) -> dict[TopicPartition, int]:
        """ListOffsets, one request to each leader."""
        if not partitions:
            return {}
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                admin = await self._connected()
                client = admin._client
                await client._maybe_wait_metadata()
        except (KafkaError, OSError, TimeoutError) as error:
            await self.close()
            raise KafkaUnavailable(f"Kafka does not answer: {error or type(error).__name__}") from error
        by_leader: defaultdict[int, list[TopicPartition]] = defaultdict(list)
        for tp in partitions:
            leader = client.cluster.leader_for_partition(tp)
            if leader is not None and leader >= 0:
                by_leader[leader].append(tp)
        asked = [self._ask_leader(client, leader, tps, position) for leader, tps in by_leader.items()]
        found: dict[TopicPartition, int] = {}
        for answer in await asyncio.gather(*asked):
            found |= answer
        if len(found) < len(partitions):
            client.force_metadata_update()
        if not found:
            raise KafkaUnavailable("Kafka does not answer: no leader told where its logs end")
        return found

    async def _ask_leader(
        self, client: Any, leader: int, partitions: Iterable[TopicPartition], position: int
    ) -> dict[TopicPartition, int]:
        request = OffsetRequest(-1, 0, _by_topic(partitions, lambda tp: (tp.partition, position)))
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                response = await client.send(leader, request)
        except (KafkaError, OSError, TimeoutError):
            return {}
        return {
            TopicPartition(topic, number): offset
            for topic, answers in response.topics
            for number, error, _, offset in answers
            if not error
        }


async def committed_offsets(
    admin: AIOKafkaAdminClient,
    group: str,
    partitions: Collection[tuple[str, int]],
    coordinator: int | None = None,
) -> dict[TopicPartition, int]:
    """The group's offset of each partition; -1 where it has committed none.

    aiokafka's `list_consumer_group_offsets` answers as if nothing were committed, while the coordinator still
    loads the group.

    Raises:
        KafkaError: the coordinator does not answer, or not yet.
    """
    if coordinator is None:
        coordinator = await admin.find_coordinator(group)
    wanted = [TopicPartition(*tp) for tp in partitions]
    request = OffsetFetchRequest(group, _by_topic(wanted, lambda tp: tp.partition))
    response = await admin._send_request(request, coordinator)
    if response.error_code:
        raise for_code(response.error_code)()
    return {
        TopicPartition(topic, number): offset
        for topic, found in response.topics
        for number, offset, _, error in found
        if not error
    }


async def remove_members(admin: AIOKafkaAdminClient, group: str) -> None:
    """Let every member leave the group; one that still runs joins again.

    Raises:
        KafkaError: the coordinator does not answer, or not yet.
    """
    coordinator = await admin.find_coordinator(group)
    (response,) = await admin.describe_consumer_groups([group], coordinator)
    ((error, _, _, _, _, members, *_),) = response.groups
    if error:
        raise for_code(error)()
    for member, *_ in members:
        await admin._send_request(LeaveGroupRequest(group, member), coordinator)


def _by_topic(
    partitions: Iterable[TopicPartition], entry: Callable[[TopicPartition], T]
) -> list[tuple[str, list[T]]]:
    """As Kafka's requests want partitions: an entry for each, by topic."""
    by_topic: defaultdict[str, list[T]] = defaultdict(list)
    for tp in partitions:
        by_topic[tp.topic].append(entry(tp))
    return list(by_topic.items())


def _owned(assignment: bytes) -> frozenset[TopicPartition] | None:
    if not assignment:
        return None
    return frozenset(
        TopicPartition(*tp) for tp in ConsumerProtocolMemberAssignment.decode(assignment).partitions()
    )

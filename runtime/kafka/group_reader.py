"""Reads a consumer group from Kafka: its members' partitions, committed offsets and log end offsets.

Asks the coordinator (DescribeGroups, OffsetFetch) and the partitions' leaders (ListOffsets) with a client of
its own, so that a partition without a leader or a broker that does not answer delays nothing else in the
process. Results are complete except for such partitions.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar
from uuid import UUID

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.commit import OffsetFetchRequest
from aiokafka.protocol.group import LeaveGroupRequest
from aiokafka.protocol.offset import OffsetRequest

from runtime.errors import KafkaUnavailable
from runtime.kafka.consumer_group import GroupSnapshot, TopicPartition
from runtime.kafka.errors import translate_errors
from runtime.kafka.membership import METADATA_MAX_AGE_MS
from runtime.kafka.topic_ids import topic_ids

#: Seconds a broker may take to answer a request, and for all requests of a snapshot.
REQUEST_TIMEOUT, SNAPSHOT_TIMEOUT = 5.0, 10.0
LATEST, EARLIEST = -1, -2
MIN_ISR = "min.insync.replicas"

T = TypeVar("T")


class GroupReader:
    """Connects on first use. As an async context manager, disconnects at the end of the block."""

    def __init__(
        self, options: Mapping[str, Any], group: str, topics: Mapping[str, int], inputs: Collection[str]
    ) -> None:
        """
        Args:
            options: options of aiokafka's clients (`client_options`).
            topics: the topics whose partitions the group's members own, with their partition counts.
            inputs: those of them that the group commits offsets for.
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
        """Disconnect; the next request connects again."""
        if self._admin:
            admin, self._admin = self._admin, None
            await admin.close()

    async def snapshot(self) -> GroupSnapshot:
        """Read the group's current state.

        Raises:
            KafkaUnavailable: the coordinator does not answer.
        """
        async with self._connected(SNAPSHOT_TIMEOUT, "Kafka does not describe its groups") as admin:
            coordinator = await admin.find_coordinator(self._group)
            state, members = await _describe(admin, self._group, coordinator)
            committed = await committed_offsets(admin, self._group, self._inputs, coordinator)
        ends = await self.ends(self._inputs)
        uncommitted = [tp for tp in ends if committed.get(tp, -1) < 0]
        offsets = committed | (await self._list_offsets(uncommitted, EARLIEST) if uncommitted else {})
        lag = {tp: max(0, end - offsets[tp]) for tp, end in ends.items() if offsets.get(tp, -1) >= 0}
        owned = {member: _owned(assignment) for member, *_, assignment in members}
        return GroupSnapshot(state, owned, self._partitions, lag)

    async def ends(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Log end offsets (one past the last record), of each partition whose leader answers.

        Raises:
            KafkaUnavailable: no broker answers.
        """
        return await self._list_offsets(partitions, LATEST)

    async def topic_ids(self, *topics: str) -> dict[str, UUID] | None:
        """The ids of those of the topics that exist; None if the brokers do not know topic ids.

        Raises:
            KafkaUnavailable: no broker answers.
        """
        async with self._connected(REQUEST_TIMEOUT) as admin:
            return await topic_ids(admin, topics)

    async def writable(self, topic: str) -> frozenset[int]:
        """Partitions of the topic that accept writes: with a leader and `min.insync.replicas` in sync.

        Raises:
            KafkaUnavailable: no broker answers.
        """
        return frozenset(number for number, accepts in (await self._writable(topic)).items() if accepts)

    async def is_writable(self, topic: str) -> bool:
        """Whether all partitions of the topic accept writes.

        Raises:
            KafkaUnavailable: no broker answers.
        """
        partitions = await self._writable(topic)
        return bool(partitions) and all(partitions.values())

    async def _writable(self, topic: str) -> dict[int, bool]:
        async with self._connected(REQUEST_TIMEOUT, f"Kafka does not describe {topic}") as admin:
            (config,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
            entries = [entry for *_, found in config.resources for entry in found]
            needed = max([int(value) for name, value, *_ in entries if name == MIN_ISR], default=1)
            topics = await admin.describe_topics()
        return {
            partition["partition"]: partition["leader"] >= 0
            and len(partition["isr"]) >= min(needed, len(partition["replicas"]))
            for described in topics
            if described["topic"] == topic
            for partition in described["partitions"]
        }

    @asynccontextmanager
    async def _connected(
        self, timeout: float, problem: str = "Kafka does not answer"
    ) -> AsyncIterator[AIOKafkaAdminClient]:
        """Run the block with a connected client, within `timeout` seconds; disconnect if it fails.

        Raises:
            KafkaUnavailable: connecting or a request of the block failed.
        """
        try:
            with translate_errors(problem):
                async with asyncio.timeout(timeout):
                    yield await self._connect()
        except KafkaUnavailable:
            await self.close()
            raise

    async def _connect(self) -> AIOKafkaAdminClient:
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

    async def _list_offsets(
        self, partitions: Collection[TopicPartition], position: int
    ) -> dict[TopicPartition, int]:
        """Send ListOffsets, one request to each leader."""
        if not partitions:
            return {}
        async with self._connected(REQUEST_TIMEOUT) as admin:
            client = admin._client
            await client._maybe_wait_metadata()
        by_leader: defaultdict[int, list[TopicPartition]] = defaultdict(list)
        for tp in partitions:
            leader = client.cluster.leader_for_partition(tp)
            if leader is not None and leader >= 0:
                by_leader[leader].append(tp)
        requests = [self._request_offsets(client, leader, tps, position) for leader, tps in by_leader.items()]
        found: dict[TopicPartition, int] = {}
        for offsets in await asyncio.gather(*requests):
            found |= offsets
        if len(found) < len(partitions):
            client.force_metadata_update()
        if not found:
            raise KafkaUnavailable("Kafka does not answer: no leader returned log offsets")
        return found

    async def _request_offsets(
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
            for topic, results in response.topics
            for number, error, _, offset in results
            if not error
        }


async def committed_offsets(
    admin: AIOKafkaAdminClient,
    group: str,
    partitions: Collection[tuple[str, int]],
    coordinator: int | None = None,
) -> dict[TopicPartition, int]:
    """The group's committed offset of each partition; -1 if there is none.

    aiokafka's `list_consumer_group_offsets` returns -1 for all of them while the coordinator loads the group.

    Raises:
        KafkaError: the coordinator does not answer, or is still loading the group.
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
    """Remove every member from the group; one that still runs joins again.

    Raises:
        KafkaError: the coordinator does not answer, or is still loading the group.
    """
    coordinator = await admin.find_coordinator(group)
    _, members = await _describe(admin, group, coordinator)
    for member, *_ in members:
        await admin._send_request(LeaveGroupRequest(group, member), coordinator)


async def _describe(admin: AIOKafkaAdminClient, group: str, coordinator: int) -> tuple[str, list[Any]]:
    """The group's state, and its members as in the response."""
    (response,) = await admin.describe_consumer_groups([group], coordinator)
    ((error, _, state, _, _, members, *_),) = response.groups
    if error:
        raise for_code(error)()
    return state, members


def _by_topic(
    partitions: Iterable[TopicPartition], entry: Callable[[TopicPartition], T]
) -> list[tuple[str, list[T]]]:
    """Group an entry for each partition by topic, as Kafka's requests require."""
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

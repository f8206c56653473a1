"""Creates topics with explicit replica placement, so that a scenario knows what a broker holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aiokafka.admin import NewTopic
from aiokafka.errors import for_code

from gateway.topics import gateway_topics
from streams.topics import streams_topics
from tests.support.kafka import open_admin

PARTITIONS = 4
OFFSETS = "__consumer_offsets"
#: The config of the topic when a broker creates it.
OFFSETS_CONFIG = {"cleanup.policy": "compact", "compression.type": "producer", "segment.bytes": "104857600"}

#: Maps topic and partition to nodes; the first one is the preferred leader.
Replicas = Callable[[str, int], Sequence[int]]


async def create_placed_topics(kafka: str, replicas: Replicas, coordinators: Sequence[int]) -> None:
    """Create the pipeline's topics, and the topic of committed offsets on the `coordinators`.

    All topics require two in-sync replicas.
    """
    topics = [
        _placed(spec.name, {**spec.config, "min.insync.replicas": "2"}, replicas)
        for spec in (*gateway_topics(PARTITIONS, 1), *streams_topics(PARTITIONS, 1))
    ]
    topics.append(_placed(OFFSETS, OFFSETS_CONFIG, lambda _, __: coordinators))
    async with open_admin(kafka) as admin:
        response = await admin.create_topics(topics)
    for name, code, *message in response.topic_errors:
        if code:
            raise for_code(code)(f"{name}: {message}")


def _placed(name: str, config: dict[str, str], replicas: Replicas) -> NewTopic:
    assignments = {number: list(replicas(name, number)) for number in range(PARTITIONS)}
    return NewTopic(name, -1, -1, replica_assignments=assignments, topic_configs=config)

"""Topics whose replicas are placed by hand, so that a scenario knows what a lost broker takes along."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import for_code

from gateway.topics import gateway_topics
from runtime.settings import load_settings
from streams.topics import messages_topic

PARTITIONS = 4
OFFSETS = "__consumer_offsets"
#: What a broker gives it when it creates the topic itself.
OFFSETS_CONFIG = {"cleanup.policy": "compact", "compression.type": "producer", "segment.bytes": "104857600"}

#: The nodes of a topic's partition; the first one is its preferred leader.
Replicas = Callable[[str, int], Sequence[int]]


async def create_placed_topics(kafka: str, replicas: Replicas, coordinators: Sequence[int]) -> None:
    """Create the pipeline's topics, and the one of committed offsets on the coordinators.

    Every topic requires two replicas in sync.
    """
    settings = load_settings({"POSTBACKS_KAFKA": kafka, "POSTBACKS_PARTITIONS": str(PARTITIONS)})
    topics = [
        _placed(spec.name, {**spec.config, "min.insync.replicas": "2"}, replicas)
        for spec in (*gateway_topics(settings), messages_topic(settings))
    ]
    topics.append(_placed(OFFSETS, OFFSETS_CONFIG, lambda _, __: coordinators))
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    try:
        await admin.start()
        answer = await admin.create_topics(topics)
    finally:
        await admin.close()
    for name, code, *message in answer.topic_errors:
        if code:
            raise for_code(code)(f"{name}: {message}")


def _placed(name: str, config: dict[str, str], replicas: Replicas) -> NewTopic:
    assignments = {number: list(replicas(name, number)) for number in range(PARTITIONS)}
    return NewTopic(name, -1, -1, replica_assignments=assignments, topic_configs=config)

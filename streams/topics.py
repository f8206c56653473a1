"""The topic that streams owns, and a check of those that it reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.rejected import REJECTED
from runtime.errors import KafkaUnavailable, TopicMismatch
from runtime.kafka.clients import open_admin
from runtime.kafka.topics import TopicSpec, durability
from streams.message import INPUTS, MESSAGES

#: Records stay this long before compaction, so that a stale last record can be merged with those before it.
COMPACTION_LAG_MS = 7 * 86_400_000
#: A message with all its lists at their limits, with a margin.
RECORD_BYTES = 2 * 1024 * 1024


def messages_topic(partitions: int, replication: int) -> TopicSpec:
    """`messages`: the output of streams, its changelog, and a feed of message states for consumers."""
    return TopicSpec(
        MESSAGES,
        partitions,
        replication,
        {
            "cleanup.policy": "compact",
            "min.compaction.lag.ms": str(COMPACTION_LAG_MS),
            "max.message.bytes": str(RECORD_BYTES),
            **durability(replication),
        },
    )


async def require_inputs(options: Mapping[str, Any], partitions: int) -> None:
    """Check that the gateway's topics exist, with as many partitions as `messages`.

    Raises:
        KafkaUnavailable: no broker answers, or a topic does not exist yet.
        TopicMismatch: one of streams' inputs has another number of partitions.
    """
    async with open_admin(options) as admin:  # describes all topics, as naming one may create it
        found = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}
    if missing := [topic for topic in (*INPUTS, REJECTED) if not found.get(topic)]:
        raise KafkaUnavailable(
            f"{', '.join(missing)} not created yet; the gateway or `postbacks topics` creates them"
        )
    for topic in INPUTS:
        if found[topic] != partitions:
            raise TopicMismatch(
                f"Topic {topic} has {found[topic]} partitions, {MESSAGES} has {partitions}: events of a "
                "message would not share a partition. Set POSTBACKS_PARTITIONS to the number that all have"
            )

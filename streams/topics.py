"""The topics that streams owns, and a check of those of the gateway that it reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.rejected import REJECTED
from runtime.errors import KafkaUnavailable, TopicMismatch
from runtime.kafka.clients import open_admin
from runtime.kafka.topics import TopicSpec, durability
from streams.auto_response import AUTO_RESPONSES
from streams.contact import CONTACTS
from streams.contact_event import CONTACT_EVENTS
from streams.message import INPUTS, MESSAGES

#: The consumer group of streams, and the id of its Faust application.
GROUP = "streams"
#: Events of contacts stay so long; what follows from them does not expire. And decisions about automatic
#: responses, which are the history of handsets: as long as the longest period of a rule.
RETENTION_MS = 30 * 86_400_000
#: Records stay this long before compaction, so that a stale last record can be merged with those before it.
COMPACTION_LAG_MS = 7 * 86_400_000
#: A message with all its lists at their limits, with a margin; a contact likewise.
RECORD_BYTES = 2 * 1024 * 1024


def streams_topics(partitions: int, replication: int) -> list[TopicSpec]:
    """`messages`, `contact_events`, `contacts` and `auto_responses`."""
    return [
        messages_topic(partitions, replication),
        contact_events_topic(partitions, replication),
        _changelog(CONTACTS, partitions, replication),
        _log(AUTO_RESPONSES, partitions, replication),
    ]


def messages_topic(partitions: int, replication: int) -> TopicSpec:
    """`messages`: the output of streams, its changelog, and a feed of message states for consumers."""
    return _changelog(MESSAGES, partitions, replication)


def contact_events_topic(partitions: int, replication: int) -> TopicSpec:
    """`contact_events`: what streams recognises, and what is imported."""
    return _log(CONTACT_EVENTS, partitions, replication)


def _log(topic: str, partitions: int, replication: int) -> TopicSpec:
    return TopicSpec(
        topic,
        partitions,
        replication,
        {
            "cleanup.policy": "delete",
            "retention.ms": str(RETENTION_MS),
            **durability(replication),
        },
    )


def _changelog(topic: str, partitions: int, replication: int) -> TopicSpec:
    return TopicSpec(
        topic,
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

"""The topic that streams owns, and those that it needs from others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from gateway.postback import POSTBACK_TOPICS, REJECTED
from runtime.errors import KafkaUnavailable, TopicMismatch
from runtime.kafka.topics import REQUEST_SECONDS, TopicSpec
from runtime.settings import Settings
from streams.message import MESSAGES

#: So long no record of a key is compacted away: a stale one that came last is joined with those before it.
COMPACTION_LAG_MS = 7 * 86_400_000
#: A message at all of its caps, with room.
RECORD_BYTES = 2 * 1024 * 1024


def messages_topic(settings: Settings) -> TopicSpec:
    """`messages`: output, recovery log and everybody's feed of what is known of each message."""
    safe = (
        {"min.insync.replicas": "2", "unclean.leader.election.enable": "false"}
        if settings.replication >= 3
        else {}
    )
    return TopicSpec(
        MESSAGES,
        settings.partitions,
        settings.replication,
        {
            "cleanup.policy": "compact",
            "min.compaction.lag.ms": str(COMPACTION_LAG_MS),
            "max.message.bytes": str(RECORD_BYTES),
            **safe,
        },
    )


async def require_postback_topics(options: Mapping[str, Any], partitions: int) -> None:
    """Return when the gateway's topics are there. They are not asked for by name, which might create them.

    Raises:
        KafkaAway: no answer, or a topic is not there (yet).
        TopicMismatch: a topic of postbacks has another number of partitions than `messages`.
    """
    admin = AIOKafkaAdminClient(**options, request_timeout_ms=REQUEST_SECONDS * 1000)
    try:
        await admin.start()
        there = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}
    except (KafkaError, OSError, TimeoutError) as error:
        raise KafkaUnavailable(f"Kafka does not answer: {error or type(error).__name__}") from error
    finally:
        await admin.close()
    if missing := [topic for topic in (*POSTBACK_TOPICS, REJECTED) if not there.get(topic)]:
        raise KafkaUnavailable(
            f"{', '.join(missing)} not there yet: the gateway, or `postbacks topics`, makes them"
        )
    for topic in POSTBACK_TOPICS:
        if there[topic] != partitions:
            raise TopicMismatch(
                f"Topic {topic} has {there[topic]} partitions, {MESSAGES} has {partitions}: events of a "
                "message would not meet. Set POSTBACKS_PARTITIONS to what all of the topics have"
            )

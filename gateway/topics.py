"""The topics that the gateway owns: how many partitions, how long kept, how safe."""

from __future__ import annotations

from gateway.postback import POSTBACK_TOPICS, REJECTED
from runtime.kafka.topics import TopicSpec
from runtime.settings import Settings

DAY_MS = 86_400_000
POSTBACKS_RETENTION_DAYS = 7
REJECTED_RETENTION_DAYS = 30
#: A body at its limit, twice (as it came and decoded), where each byte takes six in JSON.
RECORD_BYTES = 4 * 1024 * 1024


def gateway_topics(settings: Settings) -> list[TopicSpec]:
    """The postbacks.* topics."""
    kept_days = dict.fromkeys(POSTBACK_TOPICS, POSTBACKS_RETENTION_DAYS) | {REJECTED: REJECTED_RETENTION_DAYS}
    safe = (
        {"min.insync.replicas": "2", "unclean.leader.election.enable": "false"}
        if settings.replication >= 3
        else {}
    )
    return [
        TopicSpec(
            name,
            settings.partitions,
            settings.replication,
            {
                "cleanup.policy": "delete",
                "retention.ms": str(days * DAY_MS),
                "max.message.bytes": str(RECORD_BYTES),
                **safe,
            },
        )
        for name, days in kept_days.items()
    ]

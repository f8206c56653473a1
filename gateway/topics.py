"""The gateway's topics: partitions, retention, durability."""

from __future__ import annotations

from gateway.postback import POSTBACK_TOPICS
from gateway.rejected import REJECTED
from gateway.submission import SUBMISSIONS
from runtime.kafka.topics import TopicSpec, durability

DAY_MS = 86_400_000
POSTBACKS_RETENTION_DAYS = 7
REJECTED_RETENTION_DAYS = 30
#: Fits a body at its limit, stored raw and decoded, if each byte takes six in JSON.
MAX_RECORD_BYTES = 4 * 1024 * 1024


def gateway_topics(partitions: int, replication: int) -> list[TopicSpec]:
    """The postbacks.* topics, and `submissions`, which is partitioned like them."""
    retention_days = dict.fromkeys((*POSTBACK_TOPICS, SUBMISSIONS), POSTBACKS_RETENTION_DAYS) | {
        REJECTED: REJECTED_RETENTION_DAYS
    }
    return [
        TopicSpec(
            name,
            partitions,
            replication,
            {
                "cleanup.policy": "delete",
                "retention.ms": str(days * DAY_MS),
                "max.message.bytes": str(MAX_RECORD_BYTES),
                **durability(replication),
            },
        )
        for name, days in retention_days.items()
    ]

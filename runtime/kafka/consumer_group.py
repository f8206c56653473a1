"""A consumer group as Kafka sees it: who owns which partition, and what is left to read. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

STABLE = "Stable"


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"


@dataclass(frozen=True)
class GroupSnapshot:
    """A group at one moment."""

    #: The coordinator's word for it: Stable, PreparingRebalance, CompletingRebalance, Empty or Dead.
    state: str
    #: Partitions that each member owns, by member id; None where the coordinator does not tell.
    members: Mapping[str, frozenset[TopicPartition] | None]
    #: Every partition of the group's topics.
    partitions: frozenset[TopicPartition]
    #: Records that the group has not committed, of each input partition whose leader answered.
    lag: Mapping[TopicPartition, int]

    @property
    def unowned(self) -> frozenset[TopicPartition]:
        """Partitions that no member owns; empty while the owners are changing, or are not told."""
        owned = [partitions for partitions in self.members.values() if partitions is not None]
        if self.state != STABLE or len(owned) < len(self.members):
            return frozenset()
        return self.partitions.difference(*owned)

"""A consumer group as Kafka reports it: which member owns which partition, and the lag. Pure."""

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
    """A group at one point in time."""

    #: As the coordinator names it: Stable, PreparingRebalance, CompletingRebalance, Empty or Dead.
    state: str
    #: Partitions that each member owns, by member id; None if the coordinator does not report them.
    members: Mapping[str, frozenset[TopicPartition] | None]
    #: Every partition of the group's topics.
    partitions: frozenset[TopicPartition]
    #: Records that the group has not committed, by input partition; only those whose leader answered.
    lag: Mapping[TopicPartition, int]

    @property
    def unowned(self) -> frozenset[TopicPartition]:
        """Partitions that no member owns; empty during a rebalance or if owners are unknown."""
        owned = [partitions for partitions in self.members.values() if partitions is not None]
        if self.state != STABLE or len(owned) < len(self.members):
            return frozenset()
        return self.partitions.difference(*owned)

"""What a reconciliation found, for programs and for the exit status."""

from __future__ import annotations

from msgspec import Struct

from operations.reconcile.events import Lost

#: Holes, events and keys that are named, at most.
NAMED = 20


class PartitionReport(Struct, kw_only=True):
    """One partition of a cluster, in offsets; `[start, bound)` must be stored, up to `end` it will be."""

    cluster: str
    topic: str
    partition: int
    start: int
    bound: int
    end: int
    #: Distinct offsets stored, those included whose row ClickHouse refused, which are in `rejected`.
    stored: int
    refused: int
    #: Rows too many: until ClickHouse merges its parts, and for ever.
    repeated: int
    doubled: int
    missing: int
    behind: int
    #: What is missing, as first and last offset.
    holes: list[tuple[int, int]]


class EventsReport(Struct, kw_only=True):
    """Events of `postbacks` against the facts of messages."""

    #: Rows that were looked at.
    checked: int
    missing: int
    #: Records that streams, and states that the sinks, have not come to yet.
    behind: int
    named: list[Lost]


class KeysReport(Struct, kw_only=True):
    """Keys of the topic `messages` against messages in ClickHouse."""

    #: Records that were looked at.
    checked: int
    missing: int
    #: Records that the sinks have not come to yet.
    behind: int
    named: list[str]


class Rejections(Struct, kw_only=True):
    """Rejections of a stage for a reason."""

    stage: str
    reason: str
    count: int


class Report(Struct, kw_only=True):
    """All of it; `since` is from when on it was looked at."""

    since: str
    #: The cluster that POSTBACKS_KAFKA names.
    cluster: str
    partitions: list[PartitionReport]
    events: EventsReport
    keys: KeysReport
    rejected: list[Rejections]

    @property
    def missing(self) -> int:
        """Records, events and messages that should be in ClickHouse and are not."""
        return sum(p.missing for p in self.partitions) + self.events.missing + self.keys.missing

    @property
    def doubled(self) -> int:
        """Rows that count twice, and always will."""
        return sum(p.doubled for p in self.partitions)

    @property
    def behind(self) -> int:
        """What has not come to its end yet: no failure."""
        return sum(p.behind for p in self.partitions) + self.events.behind + self.keys.behind

    @property
    def complete(self) -> bool:
        return not (self.missing or self.doubled)

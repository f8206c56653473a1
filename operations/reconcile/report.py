"""The result of a reconciliation; its fields are those of the JSON of `postbacks reconcile`."""

from __future__ import annotations

from msgspec import Struct

from operations.reconcile.events import LostEvent

#: Missing ranges, events and keys that are listed; the rest are only counted.
MAX_NAMED = 20


class PartitionReport(Struct, kw_only=True):
    """One partition of a cluster; offsets in `[start, bound)` must be stored now, up to `end` eventually."""

    cluster: str
    topic: str
    partition: int
    start: int
    bound: int
    end: int
    #: Distinct stored offsets, including `refused`: in `rejected`, because ClickHouse refused the row.
    stored: int
    refused: int
    #: Surplus rows: `repeated` until ClickHouse merges them, of which `duplicates` will never be merged.
    repeated: int
    duplicates: int
    missing: int
    #: Offsets that the sinks have not committed and not stored yet.
    pending: int
    #: First and last offset of each.
    missing_ranges: list[tuple[int, int]]


class EventsReport(Struct, kw_only=True):
    """Events about messages compared with the messages' facts."""

    #: Rows of `postbacks`, and of `submissions` those with a MessageID.
    checked: int
    missing: int
    #: Records that streams has not committed yet.
    pending: int
    named: list[LostEvent]


class KeysReport(Struct, kw_only=True):
    """Keys of the topic `messages` compared with the messages in ClickHouse."""

    #: Records of the topic.
    checked: int
    missing: int
    #: Records that the sinks have not committed yet.
    pending: int
    named: list[str]


class RejectionCount(Struct, kw_only=True):
    """Rejections by a stage for one reason."""

    stage: str
    reason: str
    count: int


class ReconcileReport(Struct, kw_only=True):
    """Everything received since `since`."""

    since: str
    #: The id of the cluster that POSTBACKS_KAFKA names.
    cluster: str
    partitions: list[PartitionReport]
    events: EventsReport
    keys: KeysReport
    rejected: list[RejectionCount]

    @property
    def missing(self) -> int:
        """Records, events and messages that should be in ClickHouse and are not."""
        return sum(p.missing for p in self.partitions) + self.events.missing + self.keys.missing

    @property
    def duplicates(self) -> int:
        """Rows that count twice, and that no merge will remove."""
        return sum(p.duplicates for p in self.partitions)

    @property
    def pending(self) -> int:
        """Records that are not processed yet, which is no failure."""
        return sum(p.pending for p in self.partitions) + self.events.pending + self.keys.pending

    @property
    def complete(self) -> bool:
        return not (self.missing or self.duplicates)

"""What a repair did; its fields are those of the JSON of `postbacks reconcile --repair`."""

from __future__ import annotations

from msgspec import Struct

#: Losses that are listed; the rest are only counted.
MAX_LISTED = 20


class Loss(Struct, frozen=True):
    """Something missing, or surplus, that cannot be repaired, and why."""

    what: str
    why: str


class RepairReport(Struct, kw_only=True):
    """What was done; with `dry_run`, what would be."""

    dry_run: bool
    #: Records inserted, by table; those that ClickHouse refuses are in `rejected`, as for the sinks.
    inserted: dict[str, int] = {}
    #: Postbacks and submissions published again, by topic.
    published: dict[str, int] = {}
    #: How many records, messages and events cannot be repaired, and the first of them.
    unrepairable: int = 0
    losses: list[Loss] = []
    #: What was published and is not stored yet, in words; empty if nothing is.
    pending: str = ""

    @property
    def changes(self) -> int:
        """Records inserted and published."""
        return sum(self.inserted.values()) + sum(self.published.values())

    def on_inserted(self, table: str, count: int) -> None:
        self.inserted[table] = self.inserted.get(table, 0) + count

    def on_published(self, topic: str) -> None:
        self.published[topic] = self.published.get(topic, 0) + 1

    def lose(self, what: str, why: str, count: int = 1) -> None:
        """Report something that cannot be repaired."""
        self.unrepairable += count
        if len(self.losses) < MAX_LISTED:
            self.losses.append(Loss(what, why))

    def forget_losses(self) -> None:
        """Start another round: it finds again what still cannot be repaired."""
        self.unrepairable = 0
        self.losses = []

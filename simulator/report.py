"""The report of a simulated run, as a table or JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Report:
    """Counts of one run. If `unsure` is 0, the pipeline must result in exactly these."""

    seconds: float
    #: Requests, including duplicates and retries, and their responses by status (`none`: no response).
    posts: int
    answers: Mapping[str, int]
    #: Distinct postbacks that got a 2xx, by the first 2xx; the same number of events, also by type.
    acknowledged: Mapping[str, int]
    events: int
    types: Mapping[str, int]
    #: Messages that the events are about, by the resulting status.
    messages: int
    statuses: Mapping[str, int]
    #: Distinct postbacks that were never acknowledged but may have been stored.
    unsure: int

    @property
    def rate(self) -> float:
        """Posts per second."""
        return self.posts / self.seconds if self.seconds else 0.0

    def as_json(self) -> str:
        """Return a JSON object with the names of the fields."""
        return json.dumps(asdict(self) | {"seconds": round(self.seconds, 3)})

    def as_table(self) -> str:
        """Return lines of a name and a number."""
        rows = [("posts", self.posts), *_indent("status ", self.answers)]
        rows += [("distinct events acknowledged", self.events), *_indent("first with ", self.acknowledged)]
        rows += [*_indent("", self.types)]
        rows += [("messages", self.messages), *_indent("", self.statuses)]
        rows += [("unacknowledged events", self.unsure)]
        width = max(len(name) for name, _ in rows)
        lines = [f"{name:<{width}}  {number:>12,}" for name, number in rows]
        return "\n".join([*lines, f"{'seconds':<{width}}  {self.seconds:>12,.1f} ({self.rate:,.0f} posts/s)"])


def _indent(prefix: str, counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return [(f"  {prefix}{name}", number) for name, number in counts.items()]

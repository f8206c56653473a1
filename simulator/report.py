"""What a simulated provider says it sent, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Report:
    """Counts of one run. Where `unsure` is 0, the pipeline must come to exactly these."""

    seconds: float
    #: Requests, repeats and retries included, and their answers by code (`none`: none came).
    posts: int
    answers: Mapping[str, int]
    #: Distinct postbacks that got a 2xx, by the first such code; as many events, also by type.
    acknowledged: Mapping[str, int]
    events: int
    types: Mapping[str, int]
    #: Messages that the events are about, by the status that follows from them.
    messages: int
    statuses: Mapping[str, int]
    #: Distinct postbacks that may have been kept, but were never acknowledged.
    unsure: int

    @property
    def rate(self) -> float:
        """Posts a second."""
        return self.posts / self.seconds if self.seconds else 0.0

    def as_json(self) -> str:
        """One object, with the names of the fields."""
        return json.dumps(asdict(self) | {"seconds": round(self.seconds, 3)})

    def as_table(self) -> str:
        """Lines of a name and a number."""
        rows = [("posts", self.posts), *_indented("answered ", self.answers)]
        rows += [("distinct events acknowledged", self.events), *_indented("first by ", self.acknowledged)]
        rows += [*_indented("", self.types)]
        rows += [("messages", self.messages), *_indented("", self.statuses)]
        rows += [("events that may be there or not", self.unsure)]
        width = max(len(name) for name, _ in rows)
        lines = [f"{name:<{width}}  {number:>12,}" for name, number in rows]
        return "\n".join([*lines, f"{'seconds':<{width}}  {self.seconds:>12,.1f} ({self.rate:,.0f} posts/s)"])


def _indented(prefix: str, counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return [(f"  {prefix}{name}", number) for name, number in counts.items()]

"""The report of a simulated run, as a table or JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

#: Characters of a row's name.
WIDTH = 28


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
    #: Distinct postbacks that were answered with 4xx only, so none of them is stored as a postback.
    refused: int

    @property
    def rate(self) -> float:
        """Posts per second."""
        return self.posts / self.seconds if self.seconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        """The fields by their names."""
        return asdict(self) | {"seconds": round(self.seconds, 3)}

    def as_json(self, **more: int) -> str:
        """Return a JSON object with the names of the fields, and with `more` of them."""
        return json.dumps(more | self.as_dict())

    def as_table(self) -> str:
        """Return lines of a name and a number."""
        rows = [("posts", self.posts), *indented("status ", self.answers)]
        rows += [("distinct events acknowledged", self.events), *indented("first with ", self.acknowledged)]
        rows += [*indented("", self.types)]
        rows += [("messages", self.messages), *indented("", self.statuses)]
        rows += [("unacknowledged events", self.unsure), ("refused events", self.refused)]
        return f"{as_lines(rows)}\n{'seconds':<{WIDTH}}  {self.seconds:>12,.1f} ({self.rate:,.0f} posts/s)"


def as_lines(rows: Sequence[tuple[str, int]]) -> str:
    """Lines of a name and a number."""
    return "\n".join(f"{name:<{WIDTH}}  {number:>12,}" for name, number in rows)


def indented(prefix: str, counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """The rows of counts that belong to the row before."""
    return [(f"  {prefix}{name}", number) for name, number in counts.items()]

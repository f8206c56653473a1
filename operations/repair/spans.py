"""Which offsets of a log to read at once, and which of them are wanted. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

#: Offsets between two wanted ranges that are read, too: cheaper than another fetch.
MAX_GAP = 1_000


@dataclass(frozen=True)
class Span:
    """Wanted ranges that are close to each other, in order; not empty."""

    wanted: list[range]

    @property
    def offsets(self) -> range:
        """The offsets to read."""
        return range(self.wanted[0].start, self.wanted[-1].stop)

    def __contains__(self, offset: int) -> bool:
        """Whether the offset is in a wanted range."""
        index = bisect_right(self.wanted, offset, key=lambda wanted: wanted.start) - 1
        return index >= 0 and offset in self.wanted[index]


def spans(wanted: Iterable[range], max_gap: int = MAX_GAP) -> Iterator[Span]:
    """Group ranges, which are in order, by their distance."""
    group: list[range] = []
    for offsets in wanted:
        if group and offsets.start - group[-1].stop > max_gap:
            yield Span(group)
            group = []
        group.append(offsets)
    if group:
        yield Span(group)

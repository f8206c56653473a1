"""Up to when everything that Kafka acknowledged is in ClickHouse, as offsets show it. Pure.

A barrier is a time, and the ends of the first stage's topics read after it: what was acknowledged before that
time is below them. Once a stage's group has committed that far, what follows from it is in the next stage's
topics, below the ends that are read then. A barrier behind the last stage is in ClickHouse.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from aiokafka import TopicPartition

Offsets = Mapping[TopicPartition, int]

#: Barriers that may be pending. Further ones are set once these are reached.
MAX_PENDING = 30


class Stage(NamedTuple):
    """A consumer group, and topics whose records it commits once what follows from them is durable."""

    group: str
    topics: tuple[str, ...]


class Observation(NamedTuple):
    """What was read of Kafka, in this order."""

    #: Seconds since 1970, before anything was read; None if some acknowledged records were not in Kafka then.
    time: float | None
    #: Committed offsets by group, or the start of the log; less than 0 or missing if nothing is known.
    committed: Mapping[str, Offsets]
    #: Log ends of all partitions of all stages' topics that exist.
    ends: Offsets


@dataclass
class _Barrier:
    time: float
    stage: int
    ends: Offsets


class Barriers:
    """The pending barriers; `as_of` is the time of the last that is in ClickHouse, None before the first."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._stages = stages
        self._pending: list[_Barrier] = []
        self._last_ends: Offsets = {}
        self.as_of: float | None = None

    def advance(self, seen: Observation) -> None:
        """Move the barriers past each stage that the observation shows as done, and set a new one."""
        if any(seen.ends.get(tp, -1) < end for tp, end in self._last_ends.items()):
            self._pending.clear()  # a topic was deleted, or created again
        self._last_ends = seen.ends
        ends = [_ends_of(stage.topics, seen.ends) for stage in self._stages]
        if not all(ends):
            return
        if seen.time is not None and len(self._pending) < MAX_PENDING:
            self._pending.append(_Barrier(seen.time, 0, ends[0]))
        for barrier in self._pending:
            while barrier.stage < len(ends) and self._is_reached(barrier, seen):
                barrier.stage += 1
                if barrier.stage < len(ends):
                    barrier.ends = ends[barrier.stage]
        reached = [barrier for barrier in self._pending if barrier.stage == len(ends)]
        self._pending = [barrier for barrier in self._pending if barrier.stage < len(ends)]
        self.as_of = max([barrier.time for barrier in reached], default=self.as_of)

    def _is_reached(self, barrier: _Barrier, seen: Observation) -> bool:
        committed = seen.committed[self._stages[barrier.stage].group]
        # A commit beyond the end of the log is about an earlier topic of that name.
        return all(end <= committed.get(tp, -1) <= seen.ends[tp] for tp, end in barrier.ends.items())


def _ends_of(topics: Iterable[str], ends: Offsets) -> Offsets:
    """The ends of these topics; empty if one does not exist."""
    found = {tp: end for tp, end in ends.items() if tp.topic in topics}
    return found if {tp.topic for tp in found} == set(topics) else {}

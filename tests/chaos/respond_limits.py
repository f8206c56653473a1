"""The limits of rules: answers per handset within a period, and per day and partition. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import pairwise
from typing import TypeAlias

from streams.auto_response import AutoResponse
from tests.chaos.respond_sides import Recorded, Sides
from tests.chaos.respond_texts import CAPS, PERIODS

#: The intents that count, by rule, day and partition.
Answers: TypeAlias = Mapping[tuple[str, str, int], list[Recorded]]


def count_answers(sides: Sides, outcomes: dict[str, AutoResponse]) -> Answers:
    """The intents that count, by rule, day and partition."""
    found = defaultdict[tuple[str, str, int], list[Recorded]](list)
    for event_id, record in outcomes.items():
        first = sides.records[event_id][0]
        if first.record.outcome == "intent" and record.outcome != "not_sent":
            found[record.rule, record.day, first.partition].append(first)
    return found


def check_limits(counts: Answers, partitions: int) -> Iterator[str]:
    """Yield each limit that is exceeded.

    Args:
        partitions: over which daily caps are divided.
    """
    answers = defaultdict[tuple[str, str], list[float]](list)
    for (rule, day, partition), intents in counts.items():
        if len(intents) > CAPS[rule] // partitions:
            yield f"{len(intents)} answers of {rule} on {day} in partition {partition}"
        for intent in intents:
            at = datetime.fromisoformat(intent.record.at).timestamp()
            answers[rule, intent.record.number].append(at)
    for (rule, number), times in answers.items():
        times.sort()
        if any(later - at < PERIODS[rule] for at, later in pairwise(times)):
            yield f"{number}: several answers of {rule} within its period"

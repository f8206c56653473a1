"""The schedule of faults, determined by a seed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, TypeAlias

FaultKind: TypeAlias = Literal["kill", "stop", "freeze", "fill", "damage", "delete"]

#: Possible faults of each kind of target, with their weights.
FAULT_KINDS: dict[str, dict[FaultKind, int]] = {
    "gateway": {"kill": 3, "stop": 2, "freeze": 1},
    "streams": {"kill": 3, "stop": 2, "freeze": 3, "damage": 2},
    "sinks": {"kill": 3, "stop": 2, "freeze": 2},
    "kafka": {"kill": 3, "stop": 1, "freeze": 1},
    "clickhouse": {"kill": 3, "stop": 1, "freeze": 1},
    "disk": {"fill": 1},
    "changelogs": {"delete": 1},
}
#: How often each kind of target is hit, relative to the others.
WEIGHTS = {"gateway": 4, "streams": 6, "sinks": 5, "kafka": 3, "clickhouse": 3, "disk": 1, "changelogs": 1}


@dataclass(frozen=True, order=True)
class Fault:
    """The target is hit at `at` seconds, and restarted, resumed or emptied `duration` seconds later."""

    at: float
    target: str
    kind: FaultKind
    duration: float

    @property
    def until(self) -> float:
        return self.at + self.duration


def plan_faults(
    seed: int, seconds: float, count: int, targets: Sequence[str], session_timeout: float
) -> list[Fault]:
    """Plan up to `count` faults within so many seconds, without overlaps on one target.

    Targets are named `kind` or `kind-number`. Brokers are hit one at a time, as a cluster of three survives
    the loss of one only. A freeze outlasts the session timeout, so that its target resumes as a zombie.
    """
    rng = Random(seed)
    faults: list[Fault] = []
    busy_until: dict[str, float] = {}
    for at in sorted(rng.uniform(0, seconds) for _ in range(count)):
        available = [target for target in targets if busy_until.get(exclusion_group(target), 0) <= at]
        if not available:
            continue
        target = rng.choices(available, [WEIGHTS[target_kind(target)] for target in available])[0]
        weights = FAULT_KINDS[target_kind(target)]
        kind = rng.choices(list(weights), list(weights.values()))[0]
        duration = {
            "kill": rng.choice([0.0, 0.5, 3.0, 8.0]),
            "stop": rng.choice([0.0, 2.0]),
            "freeze": session_timeout + rng.uniform(1, 6),
            "fill": rng.uniform(3, 8),
            "damage": 0.0,
            "delete": 0.0,
        }[kind]
        fault = Fault(round(at, 2), target, kind, round(duration, 2))
        faults.append(fault)
        busy_until[exclusion_group(target)] = fault.until + 2
    return faults


def plan_blackouts(seconds: float, count: int) -> list[Fault]:
    """Kill everything at once, `count` times at equal intervals."""
    return [
        Fault(round(seconds * (number + 1) / (count + 1), 2), "everything", "kill", 1.0)
        for number in range(count)
    ]


def target_kind(target: str) -> str:
    return target.partition("-")[0]


def exclusion_group(target: str) -> str:
    """Targets of one group are never hit at once: all brokers, and what needs them or kills them."""
    return "kafka" if target_kind(target) in ("kafka", "disk", "changelogs") else target

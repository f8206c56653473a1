"""What happens to whom and when: pure, by seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["kill", "stop", "freeze", "fill"]

#: What can befall each kind of process, and how often relative to the others.
BEFALLS: dict[str, dict[Kind, int]] = {
    "gateway": {"kill": 3, "stop": 2, "freeze": 1},
    "streams": {"kill": 3, "stop": 2, "freeze": 3},
    "sinks": {"kill": 3, "stop": 2, "freeze": 2},
    "kafka": {"kill": 3, "stop": 1, "freeze": 1},
    "clickhouse": {"kill": 3, "stop": 1, "freeze": 1},
    "disk": {"fill": 1},
}
WEIGHTS = {"gateway": 4, "streams": 6, "sinks": 5, "kafka": 3, "clickhouse": 3, "disk": 1}


@dataclass(frozen=True, order=True)
class Fault:
    """At `at` seconds the target is hit; `lasts` seconds later it is started, thawed or emptied again."""

    at: float
    target: str
    kind: Kind
    lasts: float

    @property
    def until(self) -> float:
        return self.at + self.lasts


def plan_faults(
    seed: int, seconds: float, count: int, targets: Sequence[str], session_timeout: float
) -> list[Fault]:
    """So many faults within so many seconds, never two at the same target at once.

    Targets are named `kind` or `kind-number`. Brokers are hit one at a time, as a cluster of three is made to
    survive the loss of one. A freeze outlasts the session, so that its victim comes back as a zombie.
    """
    chance = Random(seed)
    faults: list[Fault] = []
    busy: dict[str, float] = {}
    for at in sorted(chance.uniform(0, seconds) for _ in range(count)):
        free = [target for target in targets if busy.get(group_of(target), 0) <= at]
        if not free:
            continue
        target = chance.choices(free, [WEIGHTS[kind_of(target)] for target in free])[0]
        befalls = BEFALLS[kind_of(target)]
        kind = chance.choices(list(befalls), list(befalls.values()))[0]
        lasts = {
            "kill": chance.choice([0.0, 0.5, 3.0, 8.0]),
            "stop": chance.choice([0.0, 2.0]),
            "freeze": session_timeout + chance.uniform(1, 6),
            "fill": chance.uniform(3, 8),
        }[kind]
        fault = Fault(round(at, 2), target, kind, round(lasts, 2))
        faults.append(fault)
        busy[group_of(target)] = fault.until + 2
    return faults


def plan_blackouts(seconds: float, count: int) -> list[Fault]:
    """So many times within so many seconds everything is killed at once, at equal distances."""
    return [
        Fault(round(seconds * (number + 1) / (count + 1), 2), "everything", "kill", 1.0)
        for number in range(count)
    ]


def kind_of(target: str) -> str:
    return target.partition("-")[0]


def group_of(target: str) -> str:
    """Who must not be hit together: the brokers, whom a full disk takes away, too; others only themselves."""
    return "kafka" if kind_of(target) in ("kafka", "disk") else target

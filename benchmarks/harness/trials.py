"""Contenders take turns, round after round, so that a slow minute of the machine meets all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from benchmarks.harness.result import Trial

Figures: TypeAlias = Mapping[str, float]


class Candidate(NamedTuple):
    """Runs once through the work; may tell of several things that it measured, by their names."""

    name: str
    run: Callable[[], Awaitable[Mapping[str, Figures]]]


@dataclass(frozen=True)
class Plan:
    """What was asked for on the command line."""

    rounds: int
    #: How much work; None: as much as the benchmark finds right.
    size: int | None
    #: The names of contenders that take part; empty: all.
    only: frozenset[str]


async def alternate(contenders: Iterable[Candidate], plan: Plan) -> list[Trial]:
    """Run those that take part, each round beginning with another; says what comes out as it goes."""
    chosen = [one for one in contenders if not plan.only or one.name in plan.only]
    trials: list[Trial] = []
    for number in range(1, plan.rounds + 1):
        first = (number - 1) * len(chosen) // plan.rounds
        for contender in chosen[first:] + chosen[:first]:
            for name, figures in (await contender.run()).items():
                trials.append(Trial(name, number, dict(figures)))
                told = ", ".join(f"{value:,.4g} {figure}" for figure, value in figures.items())
                print(f"  round {number}: {name}: {told}", flush=True)
    return trials

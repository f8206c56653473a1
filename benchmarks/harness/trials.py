"""Runs candidates alternately, round by round, so that a slow minute of the machine affects all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from benchmarks.harness.result import Trial

Figures: TypeAlias = Mapping[str, float]


class Candidate(NamedTuple):
    """Something to measure. `run` does one run, and returns figures by the names they are reported under."""

    name: str
    run: Callable[[], Awaitable[Mapping[str, Figures]]]


@dataclass(frozen=True)
class BenchmarkOptions:
    """The options of the command line."""

    rounds: int
    #: The amount of work; None for the benchmark's default.
    size: int | None
    #: The names of the candidates to run; all, if empty.
    only: frozenset[str]


async def alternate(candidates: Iterable[Candidate], options: BenchmarkOptions) -> list[Trial]:
    """Run the chosen candidates, and print each result. The order rotates from round to round."""
    chosen = [candidate for candidate in candidates if not options.only or candidate.name in options.only]
    trials: list[Trial] = []
    for number in range(1, options.rounds + 1):
        first = (number - 1) * len(chosen) // options.rounds
        for candidate in chosen[first:] + chosen[:first]:
            for name, figures in (await candidate.run()).items():
                trials.append(Trial(name, number, dict(figures)))
                line = ", ".join(f"{value:,.4g} {figure}" for figure, value in figures.items())
                print(f"  round {number}: {name}: {line}", flush=True)
    return trials

"""The result of a benchmark, saved as JSON and read by the report.

The machine is shared, and its speed changes from minute to minute, so a figure means little without another
one of the same round. A `Target` therefore compares two candidates round by round.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Literal

from msgspec import Struct, field, json

from benchmarks.harness.machine import timestamp

#: Where results are saved; not in the repository.
FOLDER = Path(__file__).parent.parent.parent / "run" / "benchmarks"


class Trial(Struct):
    """One run of a candidate; figures by name, which includes the unit."""

    candidate: str
    round: int
    figures: dict[str, float]


class Target(Struct):
    """A bound, and the measured values for it, one per round."""

    description: str
    bound: Literal["at least", "at most"]
    threshold: float
    measured: list[float]

    @property
    def met(self) -> bool:
        """Whether the median is within the bound."""
        value = median(self.measured)
        return value >= self.threshold if self.bound == "at least" else value <= self.threshold


class Result(Struct, kw_only=True):
    """Everything that a benchmark measured, and under which conditions."""

    name: str
    #: UTC.
    finished_at: str = field(default_factory=timestamp)
    machine: dict[str, str]
    #: Data, sizes and engines; a line each.
    conditions: list[str]
    trials: list[Trial]
    targets: list[Target] = []
    #: What could not be measured, and why; a line each.
    remarks: list[str] = []

    def save(self) -> Path:
        """Write the result to `FOLDER`, replacing the previous one; return its path."""
        FOLDER.mkdir(parents=True, exist_ok=True)
        path = FOLDER / f"{self.name}.json"
        path.write_bytes(json.format(json.encode(self), indent=2))
        return path


def load(path: Path) -> Result:
    """Read a saved result.

    Raises:
        msgspec.DecodeError: another version of this code wrote the file.
    """
    return json.decode(path.read_bytes(), type=Result)


def figures_by_round(trials: Iterable[Trial], candidate: str, figure: str) -> dict[int, float]:
    """Return a figure of a candidate by round; empty if it did not run."""
    return {
        trial.round: trial.figures[figure]
        for trial in trials
        if trial.candidate == candidate and figure in trial.figures
    }


def ratios(trials: Sequence[Trial], figure: str, numerator: str, denominator: str) -> list[float]:
    """Return the ratio of a figure of two candidates, for each round that has both."""
    above = figures_by_round(trials, numerator, figure)
    below = figures_by_round(trials, denominator, figure)
    return [above[number] / below[number] for number in sorted(above.keys() & below.keys())]


def minimum_targets(measured: Mapping[tuple[str, float], list[float]]) -> list[Target]:
    """Build "at least" targets from values by description and threshold; leave out those without values."""
    return [
        Target(description, "at least", threshold, values)
        for (description, threshold), values in measured.items()
        if values
    ]

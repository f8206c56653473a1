"""What a benchmark found out, as it is written beside its table, and read by the report.

A figure is only worth something next to another of the same round: the machine is shared, and faster in one
minute than in the next. So a `Reach` compares two contenders round by round.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Literal

from msgspec import Struct, json

#: Where results are kept; not committed.
FOLDER = Path(__file__).parent.parent.parent / "run" / "benchmarks"


class Trial(Struct):
    """One contender in one round; figures by their names, each with its unit in it."""

    contender: str
    round: int
    figures: dict[str, float]


class Target(Struct):
    """What was to be reached, and the measurements of it, one a round."""

    what: str
    bound: Literal["at least", "at most"]
    wanted: float
    measured: list[float]

    @property
    def met(self) -> bool:
        """Whether the median is as wanted."""
        got = median(self.measured)
        return got >= self.wanted if self.bound == "at least" else got <= self.wanted


class Result(Struct):
    """A benchmark's trials and what they mean."""

    name: str
    title: str
    #: When it ended, in UTC.
    at: str
    machine: dict[str, str]
    #: One line each: data, sizes, engines.
    conditions: list[str]
    trials: list[Trial]
    targets: list[Target]
    #: What could not be measured, and why.
    remarks: list[str] = []

    def save(self) -> Path:
        """Write it down, over the one before."""
        FOLDER.mkdir(parents=True, exist_ok=True)
        path = FOLDER / f"{self.name}.json"
        path.write_bytes(json.format(json.encode(self), indent=2))
        return path


def load(path: Path) -> Result:
    """
    Raises:
        msgspec.DecodeError: the file is of another version of this code.
    """
    return json.decode(path.read_bytes(), type=Result)


def values(trials: Iterable[Trial], contender: str, figure: str) -> dict[int, float]:
    """A contender's figure by round; empty when it did not run."""
    return {
        trial.round: trial.figures[figure]
        for trial in trials
        if trial.contender == contender and figure in trial.figures
    }


def ratios(trials: Sequence[Trial], figure: str, ours: str, theirs: str) -> list[float]:
    """Of each round that has both: how many times theirs ours is."""
    of_ours, of_theirs = values(trials, ours, figure), values(trials, theirs, figure)
    return [of_ours[number] / of_theirs[number] for number in sorted(of_ours.keys() & of_theirs.keys())]


def targets(wanted: Mapping[tuple[str, float], list[float]]) -> list[Target]:
    """Those of them that were measured; each has its words and the least ratio."""
    return [Target(what, "at least", least, got) for (what, least), got in wanted.items() if got]

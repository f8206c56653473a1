"""Formats results as Markdown tables that are readable in a terminal, too: medians and ranges."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from benchmarks.harness.result import Result, Target, Trial, figures_by_round


def format_table(rows: Sequence[Sequence[str]]) -> str:
    """Align the columns. The first row is the header; all columns but the first are right-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def line(row: Sequence[str]) -> str:
        first, *others = [
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return f"| {' | '.join([first, *others])} |"

    ruler = f"|{'|'.join(['-' * (widths[0] + 2), *('-' * (width + 1) + ':' for width in widths[1:])])}|"
    return "\n".join([line(rows[0]), ruler, *map(line, rows[1:])])


def format_range(measured: Sequence[float]) -> str:
    """Return `88,000 (81,000 to 92,000)`: the median, and the minimum and maximum if there are several."""
    digits = 0 if median(measured) >= 100 else 1 if median(measured) >= 10 else 2
    low, middle, high = (f"{n:,.{digits}f}" for n in (min(measured), median(measured), max(measured)))
    return middle if len(measured) == 1 else f"{middle} ({low} to {high})"


def trials_table(trials: Sequence[Trial]) -> str:
    """Return a row per candidate and a column per figure."""
    candidates = list(dict.fromkeys(trial.candidate for trial in trials))
    figures = list(dict.fromkeys(figure for trial in trials for figure in trial.figures))
    body = []
    for candidate in candidates:
        measured = [[*figures_by_round(trials, candidate, figure).values()] for figure in figures]
        body.append([candidate, *(format_range(values) if values else "" for values in measured)])
    return format_table([["", *figures], *body])


def targets_table(targets: Sequence[Target]) -> str:
    """Return a row per target."""
    body = [
        [
            target.description,
            f"{target.bound} {target.threshold:g}",
            format_range(target.measured),
            "yes" if target.met else "no",
        ]
        for target in targets
    ]
    return format_table([["target", "threshold", "measured", "met"], *body])


def format_result(result: Result) -> str:
    """Return the tables and the conditions, for the terminal and the report."""
    parts = [trials_table(result.trials)]
    if result.targets:
        parts.append(targets_table(result.targets))
    parts.append("\n".join(f"- {line}" for line in [*result.conditions, *result.remarks]))
    return "\n\n".join(parts)

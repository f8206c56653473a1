"""Tables that are read in a terminal and in a document: of each figure the median, and how far it spreads."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from benchmarks.harness.result import Result, Target, values


def rows(cells: Sequence[Sequence[str]]) -> str:
    """A table of Markdown, its columns aligned; the first row is the head, numbers stand to the right."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]

    def line(row: Sequence[str]) -> str:
        first, *others = [
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return f"| {' | '.join([first, *others])} |"

    ruler = f"|{'|'.join(['-' * (widths[0] + 2), *('-' * (width + 1) + ':' for width in widths[1:])])}|"
    return "\n".join([line(cells[0]), ruler, *map(line, cells[1:])])


def spread(measured: Sequence[float]) -> str:
    """`88,000 (81,000 to 92,000)`: the median, and the least and the greatest when there are several."""
    digits = 0 if median(measured) >= 100 else 1 if median(measured) >= 10 else 2
    least, middle, most = (f"{n:,.{digits}f}" for n in (min(measured), median(measured), max(measured)))
    return middle if len(measured) == 1 else f"{middle} ({least} to {most})"


def trials_table(result: Result) -> str:
    """Of each contender its figures."""
    contenders = list(dict.fromkeys(trial.contender for trial in result.trials))
    figures = list(dict.fromkeys(figure for trial in result.trials for figure in trial.figures))
    body = []
    for contender in contenders:
        measured = [list(values(result.trials, contender, figure).values()) for figure in figures]
        body.append([contender, *(spread(one) if one else "" for one in measured)])
    return rows([["", *figures], *body])


def reaches_table(targets: Sequence[Target]) -> str:
    """What was to be reached, and whether it was."""
    body = [
        [
            target.what,
            f"{target.bound} {target.wanted:g}",
            spread(target.measured),
            "yes" if target.met else "no",
        ]
        for target in targets
    ]
    return rows([["target", "wanted", "measured", "met"], *body])


def page(result: Result) -> str:
    """All that a result says, for the terminal and for the report alike."""
    parts = [
        "\n".join(f"- {line}" for line in [*result.conditions, *result.remarks]),
        trials_table(result),
    ]
    if result.targets:
        parts.append(reaches_table(result.targets))
    return "\n\n".join(parts)

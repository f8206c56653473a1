"""CSV files that a command reads: all rows are valid, or all problems are printed and nothing is done."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol, TypeVar

import click

T = TypeVar("T")


class HasProblems(Protocol):
    """An error about a file; each problem names the line, the value and what is allowed."""

    @property
    def problems(self) -> list[str]: ...


def read_file(path: Path, read: Callable[[Iterable[str]], T]) -> T:
    """Read a file in UTF-8, with or without a byte order mark.

    Raises:
        UsageError: it cannot be opened.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            return read(lines)
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror}") from None


def usage_error(path: Path, error: HasProblems, consequence: str, limit: int) -> click.UsageError:
    """The error that lists the first problems of a file, and how many more there are."""
    problems = error.problems[:limit]
    if more := len(error.problems) - len(problems):
        problems.append(f"and {more:,} more")
    return click.UsageError("\n".join([f"{path}: {consequence}", *problems]))

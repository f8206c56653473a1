"""Progress bars on standard error, with rate and remaining time; nothing if it is not a terminal.

Numbers of eight digits and a description of 36 characters fit into 80 columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.filesize import pick_unit_and_suffix
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from operations.progress import Advance


class _RateColumn(TextColumn):
    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Task) -> Text:
        if not (task.speed and task.total):
            return Text()
        unit, suffix = pick_unit_and_suffix(int(task.speed), ["", "k", "M", "G"], 1000)
        return Text(f"{task.speed / unit:.1f}{suffix}/s")


#: Columns of a bar.
BAR_WIDTH = 8


class ProgressBars:
    """A bar for each running step, see `operations.progress.Progress`. Use as a context."""

    def __init__(self, console: Console | None = None) -> None:
        console = console or Console(stderr=True)
        columns = (
            *(SpinnerColumn(), TextColumn("{task.description}"), BarColumn(BAR_WIDTH), MofNCompleteColumn()),
            *(_RateColumn(), TimeRemainingColumn(compact=True)),
        )
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)

    def __enter__(self) -> ProgressBars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def refresh(self) -> None:
        """Draw now; it is drawn ten times a second in any case."""
        self._progress.refresh()

    @contextmanager
    def step(self, description: str, total: int | None = None) -> Iterator[Advance]:
        task = self._progress.add_task(description, total=total)
        try:
            yield lambda count: self._progress.advance(task, count)
        finally:
            self._progress.remove_task(task)

"""Progress on a terminal of 80 columns, and none in a pipe."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from cli.progress import ProgressBars

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def lines_of(console: Console, description: str, total: int) -> list[str]:
    """What is shown of a step that is a tenth done."""
    with ProgressBars(console) as progress, progress.step(description, total) as advance:
        for _ in range(10):  # a rate needs several
            advance(total // 100)
        progress.refresh()
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in re.split(r"[\r\n]+", CONTROL.sub("", console.file.getvalue())) if line]


@pytest.mark.parametrize("description", ["Comparing `messages` with ClickHouse", "Inserting missing rows"])
def test_step_is_complete_in_80_columns(description: str) -> None:
    lines = lines_of(Console(file=io.StringIO(), width=80, force_terminal=True), description, 12_345_678)
    assert all(len(line) <= 80 for line in lines)
    assert any(description in line and "1234560/12345678" in line and "/s " in line for line in lines)
    assert not any("…" in line for line in lines)


def test_nothing_is_shown_in_a_pipe() -> None:
    assert lines_of(Console(file=io.StringIO(), width=80), "Inserting missing rows", 100) == []

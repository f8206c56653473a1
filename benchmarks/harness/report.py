"""Writes the newest results to docs/performance.md, and `benchmarks/NAME.md` to docs/performance-notes.md."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from benchmarks.harness.result import FOLDER, Result, load
from benchmarks.harness.table import format_result

NOTES = Path(__file__).parent.parent
DOCS = NOTES.parent / "docs"
HEAD = """# Performance

Measured with `make bench` (`python -m benchmarks NAME` for a single benchmark), written by
`python -m benchmarks report`. The machine is shared and small: trust the ratios within a run, not the
absolute figures. A cell is the median over the rounds, with minimum and maximum in brackets. In each round
all candidates run one after the other, on the same data and with the same durability (acks=all).

[performance-notes.md](performance-notes.md) says how to read the figures, what was optimised, and why targets
were missed.
"""
NOTES_HEAD = """# Performance notes

How to read the figures in [performance.md](performance.md), where the time goes, what was optimised, and why
targets were missed. Written by `python -m benchmarks report` from `benchmarks/*.md`.
"""


def write_report(titles: Mapping[str, str], results: Path = FOLDER, docs: Path = DOCS) -> list[Path]:
    """Write both pages; return their paths.

    Benchmarks without a result on this machine are left out of the figures, and not out of the notes.

    Args:
        titles: the titles of the benchmarks by name, in order.
    """
    figures = [
        _figures(titles[name], load(path)) for name in titles if (path := results / f"{name}.json").exists()
    ]
    notes = [f"## {title}\n\n{(NOTES / f'{name}.md').read_text().strip()}" for name, title in titles.items()]
    pages = {
        docs / "performance.md": [HEAD.strip(), *figures],
        docs / "performance-notes.md": [NOTES_HEAD.strip(), *notes],
    }
    for path, parts in pages.items():
        path.write_text("\n\n".join(parts) + "\n")
    return [*pages]


def _figures(title: str, result: Result) -> str:
    machine = "; ".join(f"{name} {value}" for name, value in result.machine.items())
    return "\n\n".join(
        [
            f"## {title}",
            format_result(result),
            f"_{result.finished_at}. {machine}._",
            f"[Notes](performance-notes.md#{anchor(title)})",
        ]
    )


def anchor(title: str) -> str:
    """Return the anchor that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")

"""Writes docs/performance.md: each benchmark's newest result, and what `benchmarks/NAME.md` says of it."""

from __future__ import annotations

from pathlib import Path

from benchmarks.harness.result import FOLDER, Result, load
from benchmarks.harness.table import page

ROOT = Path(__file__).parent.parent
REPORT = ROOT.parent / "docs" / "performance.md"
ORDER = ("gateway", "correlation", "sink", "end_to_end", "flush", "workers", "state_growth", "queries")
HEAD = """# Performance

Measured with `make bench` (`python -m benchmarks NAME` for one part alone), written up by
`python -m benchmarks report`. The machine is shared and small: trust the ratios of one run, not the absolute
figures. Each cell is the median of the rounds, with the least and the greatest in brackets; in every round
all contenders run one after the other, on the same data, with the same durability (acks=all).
"""


def write_report() -> Path:
    """Write the page; returns where it is. Benchmarks that never ran on this machine are left out."""
    results = [load(path) for name in ORDER if (path := FOLDER / f"{name}.json").exists()]
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text("\n\n".join([HEAD.strip(), *map(_section, results)]) + "\n")
    return REPORT


def _section(result: Result) -> str:
    words = ROOT / f"{result.name}.md"
    parts = [f"## {result.title}", page(result)]
    if words.exists():
        parts.append(words.read_text().strip())
    machine = "; ".join(f"{name} {value}" for name, value in result.machine.items())
    parts.append(f"_{result.at}. {machine}._")
    return "\n\n".join(parts)

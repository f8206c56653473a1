"""The report: a page of figures, and a page of notes with the same headings."""

from __future__ import annotations

import re
from pathlib import Path

from msgspec import json

from benchmarks.__main__ import BENCHMARKS, LONG_BENCHMARKS
from benchmarks.harness.report import anchor, write_report
from benchmarks.harness.result import Result, Target, Trial
from tests.support.process import ROOT

TITLES = {name: benchmark.TITLE for name, benchmark in (BENCHMARKS | LONG_BENCHMARKS).items()}
RATES = [900.0, 1100.0, 800.0]
RESULT = Result(
    name="sink",
    finished_at="2026-12-01 10:00 UTC",
    machine={"memory": "24 GiB"},
    conditions=["1,000 rows"],
    trials=[Trial("ours", number, {"rows/s": rate}) for number, rate in enumerate(RATES, 1)],
    targets=[Target("rows/s", "at least", 1000, RATES)],
    remarks=["The engine did not run"],
)


def test_figures_have_tables_conditions_and_a_link(tmp_path: Path) -> None:
    (tmp_path / "sink.json").write_bytes(json.encode(RESULT))
    figures, notes = write_report(TITLES, tmp_path, tmp_path)
    section = figures.read_text().partition("\n## ")[2]
    title, _, body = section.partition("\n\n")
    assert title == TITLES["sink"]
    assert body.split("\n\n") == [
        "|      |             rows/s |\n|------|-------------------:|\n| ours | 900 (800 to 1,100) |",
        "| target |     threshold |           measured | met |\n"
        "|--------|--------------:|-------------------:|----:|\n"
        "| rows/s | at least 1000 | 900 (800 to 1,100) |  no |",
        "- 1,000 rows\n- The engine did not run",
        "_2026-12-01 10:00 UTC. memory 24 GiB._",
        f"[Notes](performance-notes.md#{anchor(title)})\n",
    ]
    assert f"\n## {title}\n" in notes.read_text()


def test_each_benchmark_has_notes(tmp_path: Path) -> None:
    _, notes = write_report(TITLES, tmp_path, tmp_path)
    assert re.findall(r"^## (.+)$", notes.read_text(), re.MULTILINE) == [*TITLES.values()]


def test_committed_notes_are_current(tmp_path: Path) -> None:
    _, notes = write_report(TITLES, tmp_path, tmp_path)
    assert (ROOT / "docs" / notes.name).read_text() == notes.read_text()


def test_committed_figures_link_to_their_notes() -> None:
    page = (ROOT / "docs" / "performance.md").read_text()
    titles = re.findall(r"^## (.+)$", page, re.MULTILINE)
    assert re.findall(r"\(performance-notes\.md#(.+)\)", page) == [*map(anchor, titles)]
    assert set(titles) <= set(TITLES.values())

"""Finds the invalid rows of a batch that ClickHouse refused, by further inserts. Pure.

ClickHouse's error names the row at which it stopped. That row is inserted alone, and the others without it: a
few invalid rows cost two more inserts each. If many are invalid, or none is named, the batch is bisected. The
name is only a hint: a row is rejected only after it failed in an insert of its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from sinks.batch import Record

#: Rows of one batch that are isolated before it is bisected instead.
MAX_ISOLATED_ROWS = 8

_ROW = re.compile(r"\bat row (\d+)")


class Candidates(NamedTuple):
    """Rows to insert together, and how many of them may still be isolated."""

    records: Sequence[Record]
    isolations: int = MAX_ISOLATED_ROWS


def split(candidates: Candidates, error: str) -> list[Candidates]:
    """The inserts to try after ClickHouse refused these rows (two or more) with this error."""
    records, isolations = candidates
    named = _ROW.search(error)
    row = int(named[1]) if named else 0
    if isolations and 0 < row <= len(records):
        others = [*records[: row - 1], *records[row:]]
        return [Candidates(others, isolations - 1), Candidates(records[row - 1 : row])]
    half = len(records) // 2
    return [Candidates(records[:half]), Candidates(records[half:])]
